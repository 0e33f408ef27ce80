"""`q`: what holds of an entity, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from standards_mapping.ngsi_ld.errors import BadRequestDataError, TooComplexQueryError
from standards_mapping.ngsi_ld.expanded import Entity, Instance
from standards_mapping.ngsi_ld.query_language import parse_query
from standards_mapping.ngsi_ld.vocabulary import DEFAULT, Vocabulary

VOCABULARY = Vocabulary(terms={"temperature": ("urn:x:air", "urn:x:water")})


def entity(**values: Any) -> Entity:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    accuracy = Instance(kind="Property", value=0.5)
    attributes = {
        DEFAULT + name: [
            Instance(
                kind="Property",
                value=value,
                observed_at=noon,
                unit="GQ",
                attributes={DEFAULT + "accuracy": accuracy},
            )
        ]
        for name, value in values.items()
    }
    attributes["urn:x:water"] = [Instance(kind="Property", value=11.5)]
    return Entity(id="urn:x:1", types=("urn:x:T",), attributes=attributes)


SITE = entity(
    no2=41.5,
    name='The "Tower"; 1',
    open=True,
    since="2026-03-01T00:00:00Z",
    day="2026-03-01",
    tags=["aurn", "ü"],
    address={"street": {"name": "Rathbone"}, "numbers": [1, 2]},
    owner="urn:x:camden",
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("no2", True),
        ("no3", False),
        ("no2==41.5", True),
        ("no2!=41.5", False),
        ("no2!=41", True),
        ("no3!=41", False),
        ("no2>=41.5;no2<=41.5", True),
        ("no2>41.5|no2<41.5", False),
        ("no2==40..42", True),
        ("no2!=40..42", False),
        ("no2==1,41.5", True),
        ("no2!=1,2", True),
        ('no2=="41.5"', False),
        (r'name=="The \"Tower\"; 1"', True),
        ('name~="T.wer"', True),
        ("name~=^The", True),
        ("name!~=Bridge", True),
        ("no2~=4", False),
        ("open==true", True),
        ("open!=true", False),
        ("open==1", False),
        ("open>false", False),
        ("since==2026-03-01T01:00:00+01:00", True),
        ("since<2026-03-01T00:00:01Z", True),
        ("day==2026-02-28..2026-03-02", True),
        ('tags=="ü"', True),
        ('tags!="ü"', False),
        ('address[street.name]=="Rathbone"', True),
        ("address[numbers]==2", True),
        ("address[nothing]", False),
        ("no2.accuracy<1", True),
        ("no2.observedAt==2026-03-01T12:00:00Z", True),
        ('no2.unitCode=="GQ"', True),
        ("no2.nothing", False),
        ("owner==urn:x:camden", True),
        ("temperature>11", True),
        ("no3|no2;(no3|open==true)", True),
        ("(no3|no2);no3", False),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:  # noqa: FBT001  # a table
    assert parse_query(text, VOCABULARY).holds(SITE) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "no2==",
        "no2==a",
        "no2>1,2",
        "no2>1..2",
        "no2==true..false",
        'no2==1.."a"',
        "(no2",
        "no2)",
        "no2=1",
        "a[b",
        "a.",
        "no2==2026-13-01",
        "name~=",
        "name~=(",
        "no2 == 1",
        "x" * 5000,
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(BadRequestDataError):
        parse_query(text, VOCABULARY)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("no2>1", {"no2"}),
        ("no2!=1", {"no2"}),
        ("no2.accuracy", {"no2"}),
        ("a|b", {"a", "b"}),
        ("(a|b);no2", {"no2"}),
        ("(a;b)|no2==1", {"a", "no2"}),
    ],
)
def test_what_an_entity_must_have(text: str, needed: set[str]) -> None:
    assert parse_query(text, VOCABULARY).needs() == {DEFAULT + name for name in needed}


def test_what_is_too_complex() -> None:
    with pytest.raises(TooComplexQueryError):
        parse_query(";".join(["a"] * 101), VOCABULARY)
    with pytest.raises(TooComplexQueryError):
        parse_query("(" * 30 + "a" + ")" * 30, VOCABULARY)
