"""A running enrolment service with two councils, and what plays a gateway towards it."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from broker_config.network import Council, Network, dump
from enrolment.authority import Authority, CredentialFiles, KeyKind
from enrolment.files import PrivateKey, write_certificate, write_key
from enrolment.service import listen, serve
from enrolment.settings import EnrolmentSettings
from storage import registry
from storage.database import Connection, connect
from storage.invitations import TOKEN_LIFETIME, Invitation, invite
from storage.site_list import Site

PASSPHRASE = b"three words and a lamp post"
COUNCILS = (
    Council(tenant="camden", gss="E09000007", name="Camden", port=8884),
    Council(tenant="leeds", gss="E08000035", name="Leeds", port=8885),
)
PKCS10 = {"Content-Type": "application/pkcs10"}


@dataclass(frozen=True)
class Enrolment:
    """The service as it runs; `conn` (autocommit) looks into its registry."""

    settings: EnrolmentSettings
    directory: Path
    authority: Authority
    conn: Connection
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def est(self, operation: str, tenant: str = "camden") -> str:
        return f"{self.url}/.well-known/est/{tenant}/{operation}"

    async def invite(
        self,
        site: str,
        tenant: str = "camden",
        *,
        lifetime: timedelta = TOKEN_LIFETIME,
        renew: bool = False,
    ) -> Invitation:
        """Return one site's invitation with its token."""
        [invitation] = await invite(
            self.conn,
            tenant=tenant,
            sites=[Site(site=site, label=f"Post {site}", longitude=-0.14, latitude=51.54)],
            actor="operator test",
            lifetime=lifetime,
            renew=renew,
        )
        return invitation

    def tls(self, credential: CredentialFiles | None = None) -> ssl.SSLContext:
        """Return how a gateway connects: it trusts the region root alone."""
        context = ssl.create_default_context(cafile=self.authority.region_root())
        if credential is not None:
            context.load_cert_chain(credential.certificate, credential.key)
        return context

    async def get(self, url: str, credential: CredentialFiles | None = None) -> httpx.Response:
        async with httpx.AsyncClient(verify=self.tls(credential)) as client:
            return await client.get(url)

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        auth: tuple[str, str] | None = None,
        credential: CredentialFiles | None = None,
        headers: dict[str, str] = PKCS10,
        address: str = "127.0.0.1",
    ) -> httpx.Response:
        """POST from an address of this machine: 127.0.0.0/8 is all ours."""
        transport = httpx.AsyncHTTPTransport(verify=self.tls(credential), local_address=address)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.post(url, content=body, auth=auth, headers=headers)

    async def enrol(
        self, invitation: Invitation, key: PrivateKey, tenant: str = "camden", **how: str
    ) -> httpx.Response:
        auth = (invitation.device, invitation.token)
        return await self.post(self.est("simpleenroll", tenant), request_for(key), auth=auth, **how)

    async def renew(
        self, credential: CredentialFiles, key: PrivateKey, tenant: str = "camden"
    ) -> httpx.Response:
        url = self.est("simplereenroll", tenant)
        return await self.post(url, request_for(key), credential=credential)

    async def gateway(self, site: str, tenant: str = "camden") -> tuple[str, CredentialFiles]:
        """Enrol a gateway; return its device id and where its credential lies."""
        invitation = await self.invite(site, tenant)
        key = KeyKind.ED25519.generate()
        answer = await self.enrol(invitation, key, tenant)
        assert answer.status_code == 200, answer.text
        [certificate] = certificates_in(answer)
        return invitation.device, self.keep(site, key, certificate)

    def keep(self, name: str, key: PrivateKey, certificate: x509.Certificate) -> CredentialFiles:
        files = CredentialFiles.named(self.directory / "gateways" / name)
        write_key(files.key, key)
        write_certificate(files.certificate, certificate)
        return files


def request_for(key: PrivateKey, subject: str = "whatever") -> bytes:
    """Return a certification request in base64, as EST wants it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    digest = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    return base64.b64encode(request.public_bytes(Encoding.DER))


def certificates_in(answer: httpx.Response) -> Sequence[x509.Certificate]:
    """Return the certificates of an EST answer (RFC 7030, section 4.1.3)."""
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content, validate=True))


@contextlib.asynccontextmanager
async def running_service(dsn: str, directory: Path, **changed: object) -> AsyncIterator[Enrolment]:
    """Run the service over a new authority with encrypted keys, the region's taken offline."""
    maker = Authority(
        directory / "authority",
        "Test region",
        passphrase=PASSPHRASE,
        region_passphrase=b"region: " + PASSPHRASE,
    )
    maker.service_root()
    for council in COUNCILS:
        maker.council_root(council.tenant)
    (directory / "authority/region-root.key").rename(directory / "offline.key")
    (directory / "passphrase").write_bytes(PASSPHRASE + b"\n")
    network = Network(
        name="Test region", host="broker.example.org", councils=COUNCILS, service_port=8883
    )
    (directory / "network.toml").write_text(dump(network))
    settings = EnrolmentSettings(
        dsn=dsn,
        public_url="https://localhost:8445",
        authority_directory=directory / "authority",
        passphrase_file=directory / "passphrase",
        network_file=directory / "network.toml",
    )
    settings = replace(settings, **changed)  # type: ignore[arg-type]
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        for council in COUNCILS:
            await registry.add_council(
                conn, gss=council.gss, tenant=council.tenant, name=council.name
            )
        with listen("127.0.0.1", 0) as listener:
            task = asyncio.create_task(serve(settings, listener))
            reader = Authority(directory / "authority", "Test region", passphrase=PASSPHRASE)
            port = listener.getsockname()[1]
            try:
                yield Enrolment(settings, directory, reader, conn, port)
                assert not task.done(), task
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def command(*arguments: str | Path, given: bytes = b"") -> bytes:
    """Run a program to its end; return what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    assert process.returncode == 0, (arguments, err.decode())
    return out
