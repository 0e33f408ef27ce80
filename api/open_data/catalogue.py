"""The catalogue over HTTP: DCAT-AP for all councils or one, a dataset alone, and /data.json."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from api.open_data.answers import check_tenant, contact_of, linked, reading
from api.open_data.parameters import check_names, linked_form
from api.root import root_of
from api.state import Service, service
from standards_mapping import dcat, project_open_data
from standards_mapping.datasets import Coverage, datasets
from standards_mapping.registry import Datastream
from storage.database import Connection
from storage.open_data import coverages
from storage.published import published_datastreams, published_things

router = APIRouter(include_in_schema=False)

_ENDINGS: Final = ("ttl", "jsonld")


@router.get("/catalogue")
@router.get("/catalogue.{ending}")
async def catalogue(
    request: Request, ending: str = "", *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return the catalogue of the region."""
    return await _catalogue(request, centre, "", ending)


@router.get("/catalogue/{tenant}")
async def council_catalogue(
    request: Request, tenant: str, *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return the catalogue of one council."""
    tenant, _, ending = tenant.partition(".")
    return await _catalogue(request, centre, tenant, ending)


@router.get("/catalogue/{tenant}/{key}")
async def dataset(
    request: Request, tenant: str, key: str, *, centre: Annotated[Service, Depends(service)]
) -> Response:
    """Return one dataset of the catalogue."""
    check_names(request.query_params, ())
    key, ending = _split(key)
    async with reading(centre) as conn:
        chosen, known = await _open(conn, tenant)
    found = [each for each in datasets(chosen, known) if each.observed_property.key == key]
    if not found:
        raise HTTPException(404, f"There is no open dataset “{key}” of “{tenant}”.")
    document = dcat.dataset_document(found[0], root_of(request), contact_of(centre))
    return await linked(document, dcat.CONTEXT, linked_form(request, ending))


@router.get("/data.json")
async def data_json(request: Request, *, centre: Annotated[Service, Depends(service)]) -> Response:
    """Return the catalogue in the form that CKAN's harvesters read."""
    check_names(request.query_params, ())
    async with reading(centre) as conn:
        chosen, known = await _open(conn, "")
    document = project_open_data.data_json(
        chosen, root_of(request), coverage=known, contact=contact_of(centre)
    )
    return Response(
        orjson.dumps(document),
        media_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )


async def _catalogue(request: Request, centre: Service, tenant: str, ending: str) -> Response:
    check_names(request.query_params, ())
    if ending and ending not in _ENDINGS:
        raise HTTPException(404, f"The catalogue ends in {' or '.join(_ENDINGS)}, not “{ending}”.")
    async with reading(centre) as conn:
        chosen, known = await _open(conn, tenant)
    if tenant and not chosen:
        raise HTTPException(404, f"No council “{tenant}” has open data here.")
    document = dcat.catalogue_document(
        chosen, root_of(request), coverage=known, contact=contact_of(centre), tenant=tenant
    )
    return await linked(document, dcat.CONTEXT, linked_form(request, ending))


async def _open(
    conn: Connection, tenant: str
) -> tuple[Sequence[Datastream], Mapping[int, Coverage]]:
    """Return the open datastreams of a council, of all if empty, and of when they have data.

    Raises:
        HTTPException: 404, no council can be called that.
    """
    if tenant:
        check_tenant(tenant)
    things = await published_things(conn, tenant=tenant or None)
    found = [each for each in await published_datastreams(conn, things) if each.is_open]
    return found, await coverages(conn, [each.id for each in found])


def _split(name: str) -> tuple[str, str]:
    key, _, ending = name.rpartition(".")
    return (key, ending) if ending in _ENDINGS else (name, "")
