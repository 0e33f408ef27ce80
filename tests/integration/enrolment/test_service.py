"""The service itself: its TLS, its own certificate, slow and rude clients, its logs."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
import ssl
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from broker_config.files import BrokerKind
from device_protocol.first_boot import draw_token
from enrolment import tls
from enrolment.authority import KeyKind
from enrolment.est import create_app
from enrolment.network_file import NetworkFile
from storage import registry
from storage.database import open_pool
from tests.integration.conftest import SERVERS, DatabaseServer
from tests.integration.enrolment.counts import answered
from tests.integration.enrolment_service import (
    PKCS10,
    Enrolment,
    command,
    request_for,
    running_service,
)
from tests.integration.region import eventually

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


async def test_tls_1_2_is_let_in_and_nothing_older(service: Enrolment) -> None:
    connecting = ("openssl", "s_client", "-connect", f"localhost:{service.port}")
    assert b"New, TLSv1.3" in await command(*connecting)
    assert b"New, TLSv1.2" in await command(*connecting, "-tls1_2")
    with pytest.raises(AssertionError, match="SSL"):
        await command(*connecting, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


async def test_resumed_session_is_checked_like_a_new_one(service: Enrolment) -> None:
    """The gateway is revoked between two connections of one TLS 1.2 session."""
    device, credential = await service.gateway("resuming")
    context = service.tls(credential)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first, session = await asyncio.to_thread(site_over, service, context, None)
    await registry.set_gateway_status(
        service.conn, device=device, status="revoked", actor="operator test"
    )
    second, resumed = await asyncio.to_thread(site_over, service, context, session)
    assert (first, second) == (200, 403)
    assert resumed is not None


def site_over(
    service: Enrolment, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None]:
    """Ask for site.json, if there is a session under it; return status and session."""
    with (
        socket.create_connection(("localhost", service.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        assert tls.session_reused is (session is not None)
        tls.sendall(b"GET /enrolment/camden/site.json HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return int(tls.recv(100).split(b" ")[1]), tls.session


async def test_own_certificate_is_renewed_without_a_restart(service: Enrolment) -> None:
    """Its file is lost, which is renewed as one that is due."""
    before = await served(service)
    (service.directory / "authority/enrolment-server.pem").unlink()
    async with asyncio.timeout(15):
        while True:
            if await served(service) != before:
                return
            await asyncio.sleep(0.1)


async def test_damaged_files_end_nothing(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    """As while somebody replaces the service root: the service waits for what is whole."""
    before = await served(service)
    own = service.directory / "authority/enrolment-server.pem"
    whole = own.read_bytes()

    async def warned(times: int) -> None:
        async with asyncio.timeout(15):
            while True:
                said = [each.message for each in caplog.records]
                if said.count("certificates not taken up") >= times:
                    return
                await asyncio.sleep(0.1)

    own.write_bytes(b"half")
    await warned(1)
    assert await served(service) == before
    own.write_bytes(whole)
    root = service.directory / "authority/councils/camden/root.pem"
    kept = root.read_bytes()
    root.write_bytes(b"")
    await warned(2)
    assert await served(service) == before
    root.write_bytes(kept)


async def served(service: Enrolment) -> bytes | None:
    """Connect, trusting the region root alone; return the certificate that is shown."""
    _, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return shown


async def test_slow_speaker_is_hung_up_on(
    service: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "MAX_CONNECTION_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    writer.write(b"POST /.well-known/est/camden/simpleenroll HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_never_begins_a_handshake_is_hung_up_on(
    database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.2)
    dsn = await database_server.create()
    async with running_service(dsn, tmp_path) as impatient:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert (await impatient.get(impatient.est("cacerts"))).status_code == 200
    await database_server.drop(dsn)


async def test_endless_head_is_refused(service: Enrolment) -> None:
    reader, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_goes_away_in_mid_request_troubles_nobody(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    invitation = await service.invite("gone")
    credentials = base64.b64encode(f"{invitation.device}:{invitation.token}".encode())
    _, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    before = answered("simpleenroll")
    writer.write(
        b"POST /.well-known/est/camden/simpleenroll HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/pkcs10\r\nContent-Length: 1000\r\n"
        b"Authorization: Basic " + credentials + b"\r\n\r\nMIIB"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: answered("simpleenroll") > before)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200


async def test_while_the_registry_is_away_gateways_are_asked_to_come_again(
    service: Enrolment,
) -> None:
    async with open_pool("host=127.0.0.1 port=1", application_name="kerbstone test") as pool:
        pool.timeout = 0.1
        app = create_app(
            service.authority,
            pool,
            NetworkFile(service.settings.network_file, BrokerKind.NATS),
            guesses=service.settings.guesses,
            gateway_lifetime=timedelta(days=7),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
            answer = await client.post(
                "/.well-known/est/camden/simpleenroll",
                content=request_for(KeyKind.ED25519.generate()),
                auth=("k7q2m9xd4t", draw_token()),
                headers=PKCS10,
            )
            roots = await client.get("/.well-known/est/camden/cacerts")
            network = await client.get("/enrolment/camden/network.json")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert roots.status_code == 200
    assert network.json()["broker"] == {
        "host": "broker.example.org",
        "port": 8883,
        "mqtt_version": "3.1.1",
    }


async def test_description_that_is_damaged_leaves_the_last_good_one(
    service: Enrolment, tmp_path: Path
) -> None:
    path = tmp_path / "network.toml"
    held = NetworkFile(path, BrokerKind.MOSQUITTO)
    assert held.council("camden") is None
    good = service.settings.network_file.read_text()
    path.write_text(good)
    found = held.council("camden")
    assert found is not None
    path.write_text("name = ")
    assert held.council("camden") == found
    path.write_text(good.replace("8884", "9999"))
    changed = held.council("camden")
    assert changed is not None
    assert changed.port == 9999
    assert held.council("bath") is None


async def test_no_log_line_and_no_answer_holds_a_token(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    invitation = await service.invite("canary")
    wrong = draw_token()
    said = []
    for token in (wrong, invitation.token, invitation.token, invitation.token.lower() + "x"):
        body = request_for(KeyKind.ED25519.generate())
        url = service.est("simpleenroll")
        answer = await service.post(url, body, auth=(invitation.device, token))
        said.append(answer.text)
    ours = [vars(record) for record in caplog.records if record.name == "enrolment.est"]
    assert {row["msg"] for row in ours} == {"enrolment refused", "certificate handed out"}
    logged = [vars(record) for record in caplog.records if not record.name.startswith("http")]
    everything = (json.dumps(logged, default=str) + "".join(said)).upper()
    for token in (wrong, invitation.token):
        assert token[:5] not in everything
        assert token[-6:] not in everything
