from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from broker_config.files import BrokerKind, render, write
from broker_config.network import BrokerCertificates, BrokerPaths, Council, Network, NetworkError

NETWORK = Network(
    name="London",
    host="localhost",
    service_port=8883,
    keeper_port=8882,
    councils=(
        Council(tenant="camden", gss="E09000007", name="Camden", port=8884),
        Council(tenant="leeds", gss="E08000035", name="Leeds", port=8885),
    ),
)


def revocation_list() -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([]))
        .last_update(now)
        .next_update(now + timedelta(days=7))
    )
    key = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def paths(tmp_path: Path) -> BrokerPaths:
    authority = tmp_path / "authority"
    authority.mkdir()
    names = ("service-root", "server", "server-key", "camden", "leeds")
    for name in names:
        (authority / name).write_text(f"{name}\n")
    return BrokerPaths(
        configuration=tmp_path / "broker",
        data=tmp_path / "data",
        certificates=BrokerCertificates(
            service_root=authority / "service-root",
            server_certificate=authority / "server",
            server_key=authority / "server-key",
            council_roots={name: authority / name for name in ("camden", "leeds")},
        ),
    )


def test_mosquitto_is_given_each_list_in_the_form_it_reads(paths: BrokerPaths) -> None:
    der = revocation_list()
    rendering = render(BrokerKind.MOSQUITTO, NETWORK, paths, revocation_lists={"camden": der})
    pem = rendering.files["council-camden.crl"]
    assert x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER) == der
    main = rendering.files["mosquitto.conf"].decode()
    assert main.count("crlfile") == 1
    assert f"crlfile {paths.configuration}/council-camden.crl\n" in main


def test_nats_is_given_no_list(paths: BrokerPaths) -> None:
    lists = {"camden": revocation_list()}
    rendering = render(BrokerKind.NATS, NETWORK, paths, revocation_lists=lists)
    assert not [name for name in rendering.files if name.endswith(".crl")]
    assert rendering.files["roots.pem"] == b"service-root\ncamden\nleeds\n"


@pytest.mark.parametrize("junk", [b"", b"junk", revocation_list()[:-1]])
def test_what_is_no_list_is_refused_before_it_is_written(paths: BrokerPaths, junk: bytes) -> None:
    with pytest.raises(NetworkError, match="council 'camden': its revocation list is not one"):
        render(BrokerKind.MOSQUITTO, NETWORK, paths, revocation_lists={"camden": junk})


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_everything_a_broker_reads_lies_in_one_directory(
    paths: BrokerPaths, kind: BrokerKind
) -> None:
    main = write(render(kind, NETWORK, paths), paths)
    text = main.read_text()
    assert str(paths.certificates.server_key.parent) not in text
    assert (paths.configuration / "server.key").read_text() == "server-key\n"
    assert {path.stat().st_mode & 0o007 for path in paths.configuration.iterdir()} == {0}


def test_renewed_certificate_is_another_rendering(paths: BrokerPaths) -> None:
    before = render(BrokerKind.NATS, NETWORK, paths).fingerprint
    assert render(BrokerKind.NATS, NETWORK, paths).fingerprint == before
    paths.certificates.server_certificate.write_text("renewed")
    assert render(BrokerKind.NATS, NETWORK, paths).fingerprint != before


def test_files_that_are_as_they_should_be_are_left_alone(paths: BrokerPaths) -> None:
    rendering = render(BrokerKind.MOSQUITTO, NETWORK, paths)
    write(rendering, paths)
    before = {path.name: path.stat().st_ino for path in paths.configuration.iterdir()}
    changed = replace(NETWORK, name="Greater London").with_gateway("camden", "k7q2m9xd4t")
    write(render(BrokerKind.MOSQUITTO, changed, paths), paths)
    after = {path.name: path.stat().st_ino for path in paths.configuration.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"access.acl"}
