"""CSV of exactly what charts show: units, UTC, what each value is, its licence and who may read it.

The licence stands in every row, because rows are cut and pasted; a first line that is no data
would break the programs that read the file.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import StreamingResponse

from api.pages.site import read_site, read_view_of, stream_of
from api.pages.times import duration_text, iso_text
from api.pages.view import View, read_view
from api.pages.words import quality_text, what_it_is
from api.state import Service, service
from standards_mapping.csv_text import rfc4180, safe
from storage.aggregation import Aggregation
from storage.charts import Series
from storage.overview import CurrentValue, Site, bounded_read

router = APIRouter(include_in_schema=False)

COLUMNS: Final = (
    "council",
    "site",
    "datastream",
    "observed_property",
    "time_utc",
    "until_utc",
    "value",
    "minimum",
    "maximum",
    "unit",
    "readings",
    "what",
    "quality",
    "replay",
    "source",
    "licence",
    "access",
)


@router.get("/sites/{thing_id}/values.csv")
async def values_csv(
    thing_id: int,
    start: Annotated[str, Query(alias="from", max_length=40)] = "",
    end: Annotated[str, Query(alias="to", max_length=40)] = "",
    datastream: Annotated[int | None, Query()] = None,
    *,
    centre: Annotated[Service, Depends(service)],
) -> StreamingResponse:
    """Return what the site's charts show in a view, all of them or one."""
    view = read_view(start, end, datetime.now(UTC))
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        site, values = await read_site(conn, thing_id)
    chosen = [value for value in values if datastream in (None, value.datastream_id)]
    if not chosen:
        raise HTTPException(404, "This site has no such datastream.")
    name = f"kerbstone-site-{site.id}-{view.start:%Y%m%dT%H%M%SZ}-{view.end:%Y%m%dT%H%M%SZ}.csv"
    return StreamingResponse(
        _stream(centre, site, chosen, view),
        media_type="text/csv; charset=utf-8; header=present",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


async def _stream(
    centre: Service, site: Site, values: Sequence[CurrentValue], view: View
) -> AsyncIterator[str]:
    yield rfc4180([COLUMNS])
    async with centre.reading() as conn, bounded_read(conn, councils=centre.councils):
        for value in values:
            series = await read_view_of(conn, value, view)
            yield rfc4180(export_rows(site, value, series))


def export_rows(site: Site, value: CurrentValue, series: Series) -> Iterator[Sequence[str]]:
    """Yield a row of `COLUMNS` for each point; numbers exact, absent ones empty."""
    replay, source, licence = (
        str(value.properties.get(key) or site.properties.get(key) or "")
        for key in ("replay", "source", "licence")
    )
    what = what_it_is(
        value.averaging_seconds,
        total=stream_of(value).aggregation is Aggregation.TOTAL,
        aggregate=value.properties.get("aggregate"),
    )
    if series.bin_seconds:
        what = f"{what}; summed up over {duration_text(series.bin_seconds)}"
    fixed = [safe(text) for text in (site.council, site.name, value.datastream_name)]
    for point in series.points:
        yield (
            *fixed,
            value.property_key,
            iso_text(point.start),
            iso_text(point.end) if point.end else "",
            repr(point.value),
            "" if point.minimum is None else repr(point.minimum),
            "" if point.maximum is None else repr(point.maximum),
            value.unit,
            str(point.n),
            what,
            quality_text(point.quality),
            safe(replay),
            safe(source),
            safe(licence),
            "open" if value.is_open else "restricted",
        )
