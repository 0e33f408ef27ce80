"""`kerbstone network key …` and `access …` as an operator types them, on a real database."""

import pytest

from tests.integration.fix_network import Operator
from tests.simulators.street import seed

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def test_a_key_is_shown_once_listed_and_revoked(kerbstone: Operator) -> None:
    made = kerbstone(
        *("key", "create", "traffic desk", "--council", "camden", "--scope", "write"),
        *("--scope", "read", "--rate", "bulk", "--days", "30", "--json"),
    ).json["key"]
    assert made["key"].startswith("kbs_")
    assert (made["scopes"], made["rate_class"]) == (["read", "write"], "bulk")
    said = kerbstone("key", "create", "app", "--open-data")
    assert "open data only" in said.out
    assert "Authorization: Bearer kbs_" in said.out

    listed = kerbstone("key", "list", "--json")
    assert made["key"] not in listed.out
    assert [row["name"] for row in listed.json["keys"]] == ["app", "traffic desk"]
    assert "read and write camden" in kerbstone("key", "list").out
    [one] = kerbstone("key", "list", "--council", "camden", "--json").json["keys"]
    assert one["id"] == made["id"]

    assert kerbstone("key", "revoke", str(made["id"])).status == 2
    assert kerbstone("key", "revoke", str(made["id"]), "--yes").status == 0
    assert "revoked" in kerbstone("key", "list", "--council", "camden").out
    assert kerbstone.acts()[-3:] == ["key.create", "key.create", "key.revoke"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("key", "create", "x"), 2, "--council --region --open-data"),
        (("key", "create", " ", "--region"), 2, "printable"),
        (("key", "create", "x", "--region", "--days", "0"), 2, "--days 0"),
        (("key", "create", "x", "--open-data", "--scope", "read"), 2, "no scopes"),
        (("key", "create", "x", "--council", "atlantis"), 1, "atlantis"),
        (("key", "revoke", "77", "--yes"), 1, "no key 77"),
        (("access", "show", "atlantis"), 1, "atlantis"),
        (("access", "restrict", "camden", "--property", "gold"), 1, "camden has no 'gold'"),
        (("access", "open", "camden", "--datastream", "9"), 1, "camden has no datastream 9"),
        (("access", "open", "camden", "--new", "--datastream", "9"), 2, "not allowed with"),
    ],
)
def test_what_cannot_be_done_is_said(
    kerbstone: Operator, words: tuple[str, ...], status: int, said: str
) -> None:
    told = kerbstone(*words)
    assert told.status == status
    assert said in told.err


def test_datastreams_are_restricted_and_opened_again(kerbstone: Operator) -> None:
    street = kerbstone.has(lambda conn: seed(conn, days=1))
    no2 = street.streams["Bloomsbury", "no2"]

    def access() -> dict[int, str]:
        shown = kerbstone("access", "show", "camden", "--json").json["access"]
        return {row["id"]: row["access"] for row in shown["datastreams"]}

    assert set(access().values()) == {"open"}
    told = kerbstone("access", "restrict", "camden", "--property", "no2", "--json").json
    assert told["changed"] == {"datastreams": [no2], "new_datastreams": False}
    assert [key for key, value in access().items() if value == "restricted"] == [no2]
    assert kerbstone("access", "restrict", "camden", "--property", "no2").out == (
        "0 datastreams restricted.\n"
    )
    assert kerbstone("access", "open", "camden", "--datastream", str(no2)).out == (
        "1 datastream opened.\n"
    )
    other = street.streams["Marylebone Road", "no2"]
    assert kerbstone("access", "restrict", "camden", "--datastream", str(other)).status == 1

    assert "will be restricted" in kerbstone("access", "restrict", "camden", "--new").out
    assert "are restricted" in kerbstone("access", "show", "camden").out
    assert set(access().values()) == {"open"}
    kerbstone("access", "restrict", "camden")
    assert set(access().values()) == {"restricted"}
    assert kerbstone.acts()[-4:] == [
        "access.restrict",
        "access.open",
        "access.restrict",
        "access.restrict",
    ]


def test_a_new_datastream_is_as_its_council_wants_and_no_description_opens_it(
    kerbstone: Operator,
) -> None:
    kerbstone("access", "restrict", "camden", "--new")
    kerbstone.has(lambda conn: seed(conn, days=1))
    shown = kerbstone("access", "show", "camden", "--json").json["access"]
    assert {row["access"] for row in shown["datastreams"]} == {"restricted"}
    assert "restricted" not in kerbstone("access", "show", "westminster").out.partition("\n")[2]


def test_what_gateways_tell_of_themselves_is_not_taken_for_what_the_council_measures(
    kerbstone: Operator,
) -> None:
    street = kerbstone.has(lambda conn: seed(conn, days=1))
    own = street.streams["Bloomsbury", "spool_readings"]

    def access(*words: str) -> dict[int, str]:
        shown = kerbstone("access", "show", "camden", *words, "--json").json["access"]
        return {row["id"]: row["access"] for row in shown["datastreams"]}

    measured, all_there_are = access(), access("--health")
    health = all_there_are.keys() - measured.keys()
    assert own in health
    assert street.streams["Bloomsbury", "no2"] in measured
    told = f"Of {len(health)} in which gateways tell of themselves {len(health)} are open"
    assert told in kerbstone("access", "show", "camden").out
    assert told not in kerbstone("access", "show", "camden", "--health").out
    assert "spool_readings" not in kerbstone("access", "show", "camden").out

    by_property = kerbstone("access", "restrict", "camden", "--property", "spool_readings")
    assert (by_property.status, "has no 'spool_readings'" in by_property.err) == (1, True)
    assert access("--health") == all_there_are
    kerbstone("access", "restrict", "camden", "--datastream", str(own))
    assert [key for key, value in access("--health").items() if value == "restricted"] == [own]

    kerbstone("access", "restrict", "camden")  # nothing tells any more where its gateways stand
    assert set(access("--health").values()) == {"restricted"}
    kerbstone("access", "open", "camden")
    assert set(access("--health").values()) == {"open"}
