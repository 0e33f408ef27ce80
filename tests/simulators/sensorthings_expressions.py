"""Expressions somebody could send: every operator, function and kind of path, mostly nonsense."""

import string

from hypothesis import strategies as st

from standards_mapping.sensorthings.expression import FUNCTIONS

MARK = "zqx"
"""Stands in every text and JSON member, and in no word of ours."""

TEXTS = st.text(alphabet=string.printable, max_size=12)

_LITERALS = st.sampled_from(
    [
        *("1", "0", "-2.5", "1e3", "3", "true", "false", "null", "now()", "mindatetime()"),
        *("2026-03-01T00:00:00Z", "2026-03-01", "12:00:00", "duration'PT1H'", "duration'-P3D'"),
        "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z",
        "'2026-03-01T00:00:00Z'",
        *("geography'POINT (-0.13 51.52)'", "geometry'LINESTRING (0 51,0 52)'", "'m'"),
    ]
)
_PATHS = st.sampled_from(
    [
        *("id", "name", "description", "time", "properties/level", f"properties/{MARK}/0"),
        *("result", "phenomenonTime", "resultTime", "resultQuality/code", "validTime"),
        *("unitOfMeasurement/symbol", "location/coordinates/0", "feature", "observedArea"),
        *("Datastream/name", "Datastream/phenomenonTime", "Datastream/Thing/Locations/name"),
        *("FeatureOfInterest/name", "Thing/properties/level", "Thing/HistoricalLocations/time"),
        *("Datastreams/name", "Datastreams/Observations/result", "Things/id", "Locations/id"),
        *("Observations/result", "Observations/id", "Sensor/metadata", "ObservedProperty/id"),
    ]
)
_OPERATORS = st.sampled_from(
    [*("eq", "ne", "lt", "le", "gt", "ge"), "and", "or", "add", "sub", "mul", "div", "mod"]
)


def quoted(text: str) -> str:
    """Return a text as it is written in an expression."""
    return "'" + text.replace("'", "''") + "'"


def expressions() -> st.SearchStrategy[str]:
    """Return texts that parse as an expression; few of them make sense."""
    texts = TEXTS.map(lambda text: quoted(MARK + text))
    atoms = st.one_of(texts, _LITERALS, _PATHS, _PATHS)
    one = st.sampled_from([name for name, (least, most) in FUNCTIONS.items() if least <= 1 <= most])
    two = st.sampled_from([name for name, (least, most) in FUNCTIONS.items() if least <= 2 <= most])
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.builds(lambda a, o, b: f"({a} {o} {b})", inner, _OPERATORS, inner),
            st.builds(lambda a: f"not ({a})", inner),
            st.builds(lambda a: f"-({a})", inner),
            st.builds(lambda name, a: f"{name}({a})", one, inner),
            st.builds(lambda name, a, b: f"{name}({a},{b})", two, inner, inner),
        ),
        max_leaves=6,
    )


def conditions() -> st.SearchStrategy[str]:
    """Return expressions that have a better chance of being a condition."""
    parts = expressions()
    return st.one_of(parts, st.builds(lambda a, o, b: f"{a} {o} {b}", parts, _OPERATORS, parts))
