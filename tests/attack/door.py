"""Knocking at a broker by hand: any certificate, any client id, and the exact reason of a refusal.

A client library reports a refusal in one of many ways; the broker's own TLS alert has one. With
TLS 1.3 it comes after the client's handshake, and would be lost if the client spoke first.
"""

import contextlib
import dataclasses
import select
import socket
import ssl
import time
from datetime import datetime
from pathlib import Path

from broker_config.broker_log import BrokerLog
from broker_config.embedded import Endpoint
from enrolment import policy
from enrolment.authority import CredentialFiles, KeyKind, build_certificate
from enrolment.files import (
    PrivateKey,
    read_certificate,
    read_key,
    write_certificate,
    write_key,
)
from tests.integration.fix_brokers import City

SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Answer:
    """Whether one was let in; if not, the TLS alert or the CONNACK."""

    let_in: bool
    reason: str
    log: BrokerLog
    mark: int

    def names(self, *words: str) -> bool:
        """Return whether the broker's log names one of these; it may come after the alert."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            said = self.log.said(self.mark)
            if any(each in said for each in words):
                return True
            time.sleep(0.01)
        return False


def knock(
    city: City,
    endpoint: Endpoint,
    credential: CredentialFiles,
    client_id: str,
    *,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Answer:
    """Connect once and leave."""
    log = BrokerLog(city.broker.kind, city.broker.log)
    mark = log.mark()
    context = ssl.create_default_context(cafile=city.authority.service_root())
    context.maximum_version = newest
    context.load_cert_chain(credential.certificate, credential.key)
    rest = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(client_id).to_bytes(2, "big") + client_id.encode()
    with socket.create_connection((endpoint.host, endpoint.port), SECONDS) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                select.select([connection], [], [], SECONDS)
                connection.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    connection.recv(1)
                connection.settimeout(SECONDS)
                connection.sendall(bytes([0x10, len(rest)]) + rest)
                answer = connection.recv(4)
                return Answer(answer[3:] == b"\x00", answer.hex(), log, mark)
        except OSError as error:
            reason = getattr(error, "reason", "") or str(error)
            return Answer(let_in=False, reason=reason, log=log, mark=mark)


def certified(
    root: CredentialFiles | None, profile: policy.Profile, directory: Path, now: datetime
) -> CredentialFiles:
    """Return a new key with a certificate for anything; self-signed without a root."""
    directory.mkdir(parents=True, exist_ok=True)
    key = KeyKind.ED25519.generate()
    issuer: PrivateKey = key if root is None else read_key(root.key)
    above = None if root is None else read_certificate(root.certificate)
    certificate = build_certificate(profile, key.public_key(), issuer, above, now)
    credential = CredentialFiles.named(directory / "presented")
    write_certificate(credential.certificate, certificate)
    write_key(credential.key, key)
    return credential


def council_root(authority: Path, tenant: str) -> CredentialFiles:
    """Return the root of a council whose authority is in the attacker's hands."""
    return CredentialFiles.named(authority / "councils" / tenant / "root")
