"""Inviting gateways, one by one and by file: tokens are shown once, bad rows named."""

import hashlib
import io
import re
import zipfile
from datetime import UTC, datetime
from html import unescape

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from api.session import FORM_BYTES
from device_protocol.first_boot import FirstBoot, token_sha256
from storage.database import Connection
from storage.invitations import redeem
from storage.network_view import gateway_facts
from tests.integration.administration.office import AT_WORK, INVITED, URL_BASE, Office, text_of


async def test_an_invitation_shows_its_token_once_and_its_file_enrols(office: Office) -> None:
    form = {"council": "camden", "site": "LC-2", "label": "Museum <b>", "longitude": "-0.13"}
    assert "come together" in text_of((await office.ben.post("/administration/invite", form)).text)
    form["latitude"] = "51.52"
    answer = await office.ben.post("/administration/invite", form)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "<b>" not in answer.text
    assert "style=" not in answer.text
    [uri] = re.findall(r'name="invitations" value="([^"]+)"', answer.text)
    first_boot = FirstBoot.from_uri(unescape(uri))
    sha256 = hashlib.sha256(office.root.public_bytes(Encoding.DER)).digest()
    assert first_boot.region_root_sha256 == sha256
    assert first_boot.url == f"{URL_BASE}/.well-known/est/camden"
    assert first_boot.token in answer.text
    assert answer.text.count("<svg viewBox") == 1

    packed = await office.ben.post("/administration/first-boot.zip", {"invitations": unescape(uri)})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as files:
        [name] = files.namelist()
        assert FirstBoot.from_toml(files.read(name).decode()) == first_boot

    now = datetime.now(UTC)
    async with office.conn.transaction():
        token = await redeem(
            office.conn,
            tenant="camden",
            device=first_boot.device,
            token_sha256=token_sha256(first_boot.token),
            now=now,
        )
    assert token.device == first_boot.device

    again = await office.ben.post("/administration/invite", form)
    assert first_boot.token not in again.text
    assert "No new invitations" in again.text
    assert first_boot.token not in await office.ben.page(
        f"/administration/gateways/{first_boot.device}"
    )


async def test_inviting_again_ends_the_earlier_token(office: Office) -> None:
    url = f"/administration/gateways/{INVITED}/invite"
    assert "earlier token" in await office.ben.page(url)
    before = await open_tokens(office.conn, INVITED)
    answer = await office.ben.post(url, {})
    assert "1 invited again" in text_of(answer.text)
    after = await open_tokens(office.conn, INVITED)
    assert len(before) == len(after) == 1
    assert after != before
    assert (await office.ben.get(f"/administration/gateways/{AT_WORK}/invite")).status_code == 409


async def open_tokens(conn: Connection, device: str) -> list[bytes]:
    cursor = await conn.execute(
        "SELECT token_sha256 FROM enrolment_token JOIN gateway ON gateway.id = gateway_id"
        " WHERE device = %s AND withdrawn_at IS NULL",
        (device,),
    )
    return [sha256 for (sha256,) in await cursor.fetchall()]


async def test_of_a_file_bad_rows_are_named_and_good_ones_kept_once(office: Office) -> None:
    good = "".join(f"LC-{at},Column {at},,\n" for at in range(100, 300))
    file = f"site,label,longitude,latitude\n{good},nameless,,\nLC-100,twice,,\nLC-7,,200,51\n"
    answer = await office.ben.post(
        "/administration/upload", {"council": "camden"}, file=file.encode()
    )
    page = text_of(answer.text)
    assert "200 invitations" in page
    for line, why in ((202, "site is empty"), (203, "line 2 already"), (204, "longitude 200")):
        assert re.search(rf"Line {line} \S+ [^.]*{why}", page), page[:2000]
    assert answer.text.count('class="sheet-card"') == 200
    tokens = set(re.findall(r'sheet-card__token">([0-9A-Z-]{30})<', answer.text))
    assert len(tokens) == 200

    before = await office.state()
    answer = await office.ben.post(
        "/administration/upload", {"council": "camden"}, file=file.encode()
    )
    assert "200 left as they were" in text_of(answer.text)
    assert "sheet-card" not in answer.text.split("<main")[1]
    assert await office.state() == before
    total = len(await gateway_facts(office.conn, tenant="camden"))
    last = await office.ben.page("/administration?page=5")
    assert f"201 to {total} of {total} gateways" in last
    assert "1 gateway." in await office.ben.page("/administration?q=LC-123")
    columns = await office.ben.page("/administration?status=invited&q=column&page=2")
    assert "51 to 100 of 200 gateways" in columns


@pytest.mark.parametrize(
    ("file", "status", "why"),
    [
        (b"", 400, "choose a file"),
        (b"asset,name\n1,2\n", 400, "unknown: &#39;asset&#39;"),
        ("site\nGro\u00dfe\n".encode("latin-1"), 400, "line 2 is not UTF-8"),
        (b"site\n" + b"".join(b"S%d\n" % at for at in range(1001)), 400, "split the file"),
        (b"site\n" + b"x" * FORM_BYTES, 413, "larger than the limit"),
        (None, 400, "choose a file"),
    ],
)
async def test_a_file_that_cannot_be_used_is_explained(
    office: Office, file: bytes | None, status: int, why: str
) -> None:
    before = await office.state()
    answer = await office.ben.post("/administration/upload", {"council": "camden"}, file=file)
    assert answer.status_code == status
    assert why in answer.text
    assert await office.state() == before
