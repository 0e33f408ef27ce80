"""`kerbstone network workers`: several processes of ingest are let in at the broker."""

import pytest

from broker_config.network import load as load_network
from tests.integration.fix_network import Operator

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def services_of(kerbstone: Operator) -> list[str]:
    return [service.name for service in load_network(kerbstone.directory.network_file).services]


def test_each_worker_gets_a_certificate_and_rights(kerbstone: Operator) -> None:
    told = kerbstone("workers", "3", "--json").json
    assert [path.rpartition("/")[2] for path in told["certificates"]] == [
        "ingest-w0.pem",
        "ingest-w1.pem",
        "ingest-w2.pem",
    ]
    assert services_of(kerbstone) == ["ingest", "ingest-w0", "ingest-w1", "ingest-w2"]
    again = kerbstone("workers", "2", "--json").json
    assert again["certificates"] == told["certificates"][:2]
    assert kerbstone("council", "add", "leeds", "--gss", "E08000035", "--name", "Leeds").status == 0
    assert services_of(kerbstone) == ["ingest", "ingest-w0", "ingest-w1"]
    assert kerbstone("workers", "1").status == 0
    assert services_of(kerbstone) == ["ingest"]


def test_no_worker_is_none(kerbstone: Operator) -> None:
    assert kerbstone("workers", "0").status == 2
    assert services_of(kerbstone) == ["ingest"]
