"""Inviting gateways: one by a form, hundreds by a CSV file, one again by its own page.

Tokens are in the answer to the form and nowhere else: whoever loses that page invites again. The
page sends the invitations back to be packed into an archive, because nothing here keeps them.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response

from api.administration.desk import Desk, Device, desk
from api.administration.invitation_sheet import STYLESHEET, SheetItem
from api.administration.issuer import Issuer, zip_of
from api.administration.words import gateway_row
from api.session import Posted, posted
from device_protocol.first_boot import FirstBoot, FirstBootError
from storage.invitations import TOKEN_LIFETIME, Invitation, invite
from storage.registry import CouncilRow
from storage.site_list import (
    COLUMNS,
    BadRow,
    Site,
    SiteError,
    SiteListError,
    placed,
    read_sites,
)

router = APIRouter(include_in_schema=False)

MOST_SITES: Final = 1000
"""How many a file may name: one page must show a card for each."""

TOKEN_HOURS: Final = round(TOKEN_LIFETIME.total_seconds() / 3600)

_MOST_TEXT: Final = 200
_FIELDS: Final = COLUMNS
_NO_ISSUER: Final = (
    "This service cannot invite gateways yet: its settings do not say where gateways enrol "
    "(enrolment.url_base and enrolment.region_root_file). Nothing was changed."
)
_LEFT_ALONE: Final = {
    "already invited": "was invited before and has an invitation that is still open",
    "already enrolled": "has a gateway that is enrolled",
}


@router.get("/administration/invite")
async def invite_page(
    council: Annotated[str, Query(max_length=32)] = "",
    site: Annotated[str, Query(max_length=_MOST_TEXT)] = "",
    *,
    at: Annotated[Desk, Depends(desk)],
) -> Response:
    """Ask where a gateway shall be."""
    return await _ask_one(at, {"council": council, "site": site}, "")


@router.post("/administration/invite")
async def invite_one(
    at: Annotated[Desk, Depends(desk)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """Invite a gateway to one site."""
    council = await at.council(form.text("council"))
    given = {name: form.text(name) for name in ("council", *_FIELDS)}
    try:
        site = site_of(given)
    except SiteError as error:
        return await _ask_one(at, given, str(error))
    return await _invite(at, council, [site])


@router.get("/administration/upload")
async def upload_page(at: Annotated[Desk, Depends(desk)]) -> Response:
    """Ask for a list of sites."""
    return await _ask_file(at, "", "")


@router.post("/administration/upload")
async def upload(
    at: Annotated[Desk, Depends(desk)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """Invite a gateway to each site of a CSV file; rows that cannot be used are named."""
    council = await at.council(form.text("council"))
    try:
        sites, bad = read_sites(decoded(form.file))
    except SiteListError as error:
        return await _ask_file(at, council.tenant, str(error))
    if len(sites) > MOST_SITES:
        problem = f"{len(sites):,} sites, and at most {MOST_SITES:,} at a time: split the file"
        return await _ask_file(at, council.tenant, problem)
    return await _invite(at, council, sites, bad)


@router.get("/administration/gateways/{device}/invite")
async def ask_again(device: Device, at: Annotated[Desk, Depends(desk)]) -> Response:
    """Say what a new invitation of a gateway will do, and ask whether it shall be."""
    facts = await at.gateway(device)
    row = gateway_row(facts, datetime.now(UTC))
    if facts.site is None or facts.status not in ("invited", "active"):
        raise HTTPException(409, _cannot_renew(row.name))
    return await at.answer("administration_invite_again.html", {"row": row, "hours": TOKEN_HOURS})


@router.post("/administration/gateways/{device}/invite", dependencies=[Depends(posted)])
async def again(device: Device, at: Annotated[Desk, Depends(desk)]) -> Response:
    """Invite a gateway again; its earlier invitation ends."""
    facts = await at.gateway(device)
    if facts.site is None or facts.status not in ("invited", "active"):
        raise HTTPException(409, _cannot_renew(facts.label or device))
    council = await at.council(facts.tenant)
    site = Site(site=facts.site, label=facts.label, place_name=facts.place_name)
    return await _invite(at, council, [site], renew=True)


@router.post("/administration/first-boot.zip")
async def first_boot_files(
    at: Annotated[Desk, Depends(desk)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """Return the first-boot files of the invitations that a page of ours has just shown."""
    try:
        first_boots = [FirstBoot.from_uri(line) for line in form.text("invitations").split()]
    except FirstBootError as error:
        raise HTTPException(400, f"These are no invitations of ours: {error}.") from error
    for tenant in {one.tenant for one in first_boots}:
        await at.council(tenant)
    packed = await asyncio.to_thread(zip_of, first_boots)
    headers = {
        "Content-Disposition": 'attachment; filename="first-boot-files.zip"',
        "Cache-Control": "no-store",
    }
    return Response(packed, media_type="application/zip", headers=headers)


def site_of(given: dict[str, str]) -> Site:
    """Return the site that a form describes.

    Raises:
        SiteError: it describes none.
    """
    longitude, latitude = placed(
        given["grid_reference"],
        _degrees("longitude", given["longitude"]),
        _degrees("latitude", given["latitude"]),
    )
    return Site(
        site=given["site"],
        label=given["label"],
        place_name=given["place_name"],
        longitude=longitude,
        latitude=latitude,
    )


def decoded(file: bytes | None) -> str:
    """Return the text of an uploaded file.

    Raises:
        SiteListError: there is no file, or no text in it.
    """
    if not file:
        raise SiteListError("choose a file that is not empty")
    try:
        return file.decode()
    except UnicodeDecodeError as error:
        line = file.count(b"\n", 0, error.start) + 1
        raise SiteListError(f"line {line} is not UTF-8 text: save the file as CSV UTF-8") from error


def sheet_items(
    issuer: Issuer, council: CouncilRow, invitations: Sequence[Invitation]
) -> list[SheetItem]:
    """Return a card for each invitation that has a token.

    Raises:
        FirstBootError: the enrolment service's address cannot be used.
    """
    return [
        SheetItem(
            first_boot=issuer.first_boot(tenant=council.tenant, device=one.device, token=one.token),
            council=council.name,
            site=one.site.site,
            label=one.site.label,
            place_name=one.site.place_name,
            expires_at=one.expires_at,
        )
        for one in invitations
        if one.token and one.expires_at is not None
    ]


def _degrees(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise SiteError(f"{name} {text!r} is not a number of degrees") from None


def _cannot_renew(name: str) -> str:
    return (
        f"{name} cannot be invited again: it was revoked, is suspended, or was registered without "
        "a site. Invite a gateway to the site instead, or resume this one."
    )


async def _invite(
    at: Desk,
    council: CouncilRow,
    sites: Sequence[Site],
    bad: Sequence[BadRow] = (),
    *,
    renew: bool = False,
) -> Response:
    issuer = _issuer(at)
    async with at.centre.connection() as conn:
        invitations = await invite(
            conn, tenant=council.tenant, sites=sites, actor=at.actor, renew=renew
        )
    items = sheet_items(issuer, council, invitations)
    context = {
        "council": council,
        "items": items,
        "uris": "\n".join(item.first_boot.to_uri() for item in items),
        "bad": bad,
        "left_alone": [
            (one, _LEFT_ALONE[one.outcome]) for one in invitations if one.outcome in _LEFT_ALONE
        ],
        "counts": Counter(one.outcome for one in invitations),
        "total": len(invitations) + len(bad),
        "hours": TOKEN_HOURS,
        "stylesheet": STYLESHEET,
    }
    return await at.answer("administration_invited.html", context)


def _issuer(at: Desk) -> Issuer:
    """Return the issuer, before anything is changed.

    Raises:
        HTTPException: 503, there is none.
    """
    if at.issuer is None:
        raise HTTPException(503, _NO_ISSUER)
    return at.issuer


async def _ask_one(at: Desk, given: dict[str, str], problem: str) -> Response:
    context = {
        "councils": await at.councils(),
        "given": dict.fromkeys(_FIELDS, "") | given,
        "problem": problem,
        "hours": TOKEN_HOURS,
        "ready": at.issuer is not None,
    }
    return await at.answer("administration_invite.html", context, 400 if problem else 200)


async def _ask_file(at: Desk, council: str, problem: str) -> Response:
    context = {
        "councils": await at.councils(),
        "chosen": council,
        "problem": problem,
        "columns": COLUMNS,
        "most": MOST_SITES,
        "hours": TOKEN_HOURS,
        "ready": at.issuer is not None,
    }
    return await at.answer("administration_upload.html", context, 400 if problem else 200)
