"""`kerbstone network council`: councils are added, succeeded, and given their brokers' settings."""

import pytest

from ingest.settings import IngestSettings
from runtime.settings import load
from tests.integration.fix_network import CAMDEN, Operator, contents

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def test_adding_a_council_again_changes_nothing(kerbstone: Operator) -> None:
    before, acts = contents(kerbstone.directory.root), kerbstone.acts()
    again = kerbstone("council", "add", *CAMDEN, "--json").json
    assert not again["new"]
    assert contents(kerbstone.directory.root) == before
    assert kerbstone.acts() == acts


IMPOSSIBLE_COUNCILS = (
    (("camden", "--gss", "E09000008", "--name", "Camden"), "Croydon"),
    (("camden", "--gss", "E09000099", "--name", "Camden"), "E09000007"),
    (("bristol", "--gss", "E06000023", "--name", "Bath"), "Bristol"),
    (("camden", "--gss", "E06000023", "--name", "Bristol"), "E09000007"),
    (("Bristol", "--gss", "E06000023", "--name", "Bristol"), "Bristol"),
    (("bristol", "--gss", "E06000023", "--name", "Bristol", "--port", "8884"), "8884"),
    ((*CAMDEN, "--port", "9000"), "8884"),
)


def test_a_council_that_cannot_be_is_refused_and_nothing_made(kerbstone: Operator) -> None:
    before = contents(kerbstone.directory.root)
    for words, named in IMPOSSIBLE_COUNCILS:
        said = kerbstone("council", "add", *words)
        assert (said.status, named in said.err) == (2, True), said
    assert contents(kerbstone.directory.root) == before
    assert len(kerbstone("council", "list", "--json").json["councils"]) == 1


def test_new_boundaries_bring_a_council_another_code(kerbstone: Operator) -> None:
    change = ("council", "code", "camden", "--gss", "E09000099", "--name", "Camden and Barnet")
    unlisted = kerbstone(*change, "--since", "2026-04-01")
    assert (unlisted.status, "--unlisted" in unlisted.err) == (2, True)
    assert kerbstone(*change, "--since", "2026-04-01", "--unlisted").status == 0
    [council] = kerbstone("council", "list", "--json").json["councils"]
    assert (council["gss"], council["name"]) == ("E09000099", "Camden and Barnet")
    told = kerbstone("council", "codes", "--json").json["codes"]
    assert [
        (each["gss"], each["valid_from"], each["valid_until"], each["replaced_by"]) for each in told
    ] == [("E09000007", None, "2026-03-31", "E09000099"), ("E09000099", "2026-04-01", None, "")]
    before = contents(kerbstone.directory.root)
    again = kerbstone(*change, "--since", "2026-04-01", "--unlisted")
    assert (again.status, "2026-04-01" in again.err) == (2, True)
    back = ("council", "code", "camden", "--gss", "E09000007", "--name", "Camden")
    taken = kerbstone(*back, "--since", "2027-04-01")
    assert (taken.status, "E09000007 is or was" in taken.err) == (2, True)
    assert contents(kerbstone.directory.root) == before
    newest = ("council", "add", "camden", "--gss", "E09000099", "--name", "Camden and Barnet")
    assert not kerbstone(*newest, "--unlisted", "--json").json["new"]
    assert kerbstone.acts()[-1] == "council.code"


def test_on_nats_each_council_brings_a_connection_of_ingest(newcomer: Operator) -> None:
    newcomer.init("--broker", "nats")
    newcomer("council", "add", *CAMDEN)
    added = newcomer(
        *("council", "add", "bristol", "--gss", "E06000023", "--name", "Bristol", "--json")
    ).json
    assert not added["broker_restart_needed"]
    listed = newcomer("council", "list", "--json").json["councils"]
    assert [each["port"] for each in (added, *listed)] == [8883, 8883, 8883], "one listener"
    found = load(IngestSettings, newcomer.directory.ingest_settings).broker
    assert [(each.tenant, each.mqtt_version) for each in found] == [
        ("camden", "3.1.1"),
        ("bristol", "3.1.1"),
    ]
    assert len({each.client_id for each in found}) == 2


def test_post_quantum_delivery_needs_a_recipient_and_ingest_that_take_it(
    kerbstone: Operator,
) -> None:
    switch = ("council", "suites", "camden", "--post-quantum")
    refused = kerbstone(*switch, "on")
    assert (refused.status, "ingest.toml" in refused.err) == (2, True)
    ingest = kerbstone.directory.ingest_settings
    ingest.write_text("suites = [1, 2, 3]\n" + ingest.read_text())
    refused = kerbstone(*switch, "on")
    assert (refused.status, "--key-type x-wing" in refused.err) == (2, True)
    assert kerbstone("rotate", "recipients", "--key-type", "x-wing").status == 0
    [before] = kerbstone("status", "--json").json["status"]["councils"]
    assert kerbstone(*switch, "on", "--json").json["suites"] == [1, 2, 3]
    kerbstone.serve()
    [after] = kerbstone("status", "--json").json["status"]["councils"]
    assert after["key_set_version"] > before["key_set_version"]
    assert kerbstone(*switch, "off", "--json").json["suites"] == [1, 2]
