"""What a request asks for, from its query parameters or from a Query in its body. Pure.

GET and POST are brought to one form first: text by parameter name (clauses 6.4.3, 6.18.3, 6.23).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from standards_mapping.ngsi_ld.conditions import Condition
from standards_mapping.ngsi_ld.errors import (
    BadRequestDataError,
    InvalidRequestError,
    OperationNotSupportedError,
    TooManyResultsError,
)
from standards_mapping.ngsi_ld.forms import Form
from standards_mapping.ngsi_ld.geo_query import GeoQuery, parse_geo_query
from standards_mapping.ngsi_ld.pattern import Pattern
from standards_mapping.ngsi_ld.query_language import parse_query
from standards_mapping.ngsi_ld.selection import (
    EntitySelector,
    Projection,
    check_id,
    parse_attributes,
    parse_ids,
    parse_members,
    parse_types,
    projection,
)
from standards_mapping.ngsi_ld.temporal_query import (
    TemporalQuery,
    parse_aggregation,
    parse_last,
    parse_window,
)
from standards_mapping.ngsi_ld.vocabulary import Vocabulary

Parameters: TypeAlias = Mapping[str, str]

PAGE: Final = 20
"""Entities on a page where the request does not say."""
LARGEST_PAGE: Final = 1000

_MOST_NAMES: Final = 1000
_MOST_OFFSET: Final = 10_000_000
_FORMS: Final = {
    "normalized": Form.NORMALIZED,
    "concise": Form.CONCISE,
    "simplified": Form.SIMPLIFIED,
    "keyValues": Form.SIMPLIFIED,
}
_TEMPORAL: Final = ("temporalValues", "aggregatedValues")

_IGNORED: Final = frozenset(
    {"lang", "local", "expandValues", "jsonKeys", "joinLevel", "splitEntities"}
)
_OUTPUT: Final = frozenset(
    {"attrs", "pick", "omit", "options", "format", "geometryProperty", *_IGNORED}
)
_PAGING: Final = frozenset({"limit", "offset", "count"})
_SELECTION: Final = frozenset(
    {"id", "type", "idPattern", "q", "georel", "geometry", "coordinates", "geoproperty"}
)
_HISTORY: Final = frozenset(
    {
        "timerel",
        "timeAt",
        "endTimeAt",
        "timeproperty",
        "lastN",
        "aggrMethods",
        "aggrPeriodDuration",
    }
)
RETRIEVE: Final = _OUTPUT | {"type"}
QUERY: Final = _OUTPUT | _PAGING | _SELECTION
RETRIEVE_TEMPORAL: Final = _OUTPUT | _HISTORY
QUERY_TEMPORAL: Final = QUERY | _HISTORY
DETAILS: Final = frozenset({"details", *_IGNORED})

_UNSUPPORTED: Final = frozenset(
    {
        "scopeQ",
        "csf",
        "join",
        "containedBy",
        "datasetId",
        "orderBy",
        "collation",
        "entityMap",
        "ordering",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How entities are written. temporal: temporalValues, aggregatedValues or ""."""

    projection: Projection
    attributes: frozenset[str] | None
    form: Form
    temporal: str = ""
    sys_attrs: bool = False
    geometry_property: str = "location"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which entities are wanted, which page of them, and how they are written."""

    selectors: tuple[EntitySelector, ...]
    output: Output
    condition: Condition | None = None
    geo: GeoQuery | None = None
    limit: int = PAGE
    offset: int = 0
    count: bool = False
    temporal: TemporalQuery | None = None


def check_names(given: Parameters, allowed: frozenset[str]) -> None:
    """Refuse parameters that the operation does not have.

    Raises:
        OperationNotSupportedError: one is of the standard, but not of this service.
        InvalidRequestError: one is not known.
    """
    for name in given:
        if name in _UNSUPPORTED:
            raise OperationNotSupportedError(f"{name} is not supported here: leave it out")
        if name not in allowed:
            known = ", ".join(sorted(allowed - _IGNORED))
            raise InvalidRequestError(f"there is no parameter {name!r} here; there are {known}")


def parse_output(given: Parameters, vocabulary: Vocabulary, *, temporal: bool = False) -> Output:
    """Return how entities are to be written; format wins over options.

    Raises:
        InvalidRequestError: an option or the format is not known.
        BadRequestDataError: attrs, pick or omit make no sense.
    """
    options = [one for one in given.get("options", "").split(",") if one]
    known = {*_FORMS, *(_TEMPORAL if temporal else ()), "sysAttrs"}
    wanted = given.get("format", "")
    for one in [*options, *([wanted] if wanted else [])]:
        if one not in known or one == wanted == "sysAttrs":
            raise InvalidRequestError(f"{one!r} is not known; there are {', '.join(sorted(known))}")
    forms = [wanted] if wanted else [one for one in options if one != "sysAttrs"]
    if len(set(forms)) > 1:
        raise InvalidRequestError(f"options ask for several forms: {', '.join(forms)}")
    chosen = forms[0] if forms else "normalized"
    attrs = parse_attributes(_names(given.get("attrs", "")), vocabulary)
    pick = parse_members(given["pick"]) if given.get("pick") else ()
    omit = parse_members(given["omit"]) if given.get("omit") else ()
    shown = projection(attrs, pick, omit, vocabulary)
    needed = attrs or (shown.attributes if pick and not shown.core & set(pick) else None) or None
    return Output(
        projection=shown,
        attributes=needed,
        form=_FORMS.get(chosen, Form.NORMALIZED),
        temporal=chosen if chosen in _TEMPORAL else "",
        sys_attrs="sysAttrs" in options,
        geometry_property=given.get("geometryProperty") or "location",
    )


def _names(text: str) -> Sequence[str]:
    names = text.split(",") if text else ()
    if len(names) > _MOST_NAMES:
        raise BadRequestDataError(f"more than {_MOST_NAMES} names")
    return names


def parse_request(given: Parameters, vocabulary: Vocabulary, *, temporal: bool = False) -> Query:
    """Return what a query's parameters ask for; empty ones count as not given.

    Raises:
        NgsiLdError: they make no sense, or say too little.
    """
    selector = EntitySelector(
        ids=parse_ids(given.get("id", "")),
        pattern=Pattern(given["idPattern"]) if given.get("idPattern") else None,
        types=parse_types(given["type"], vocabulary) if given.get("type") else None,
    )
    return _query(given, (selector,), vocabulary, temporal=temporal)


def _query(
    given: Parameters,
    selectors: tuple[EntitySelector, ...],
    vocabulary: Vocabulary,
    *,
    temporal: bool,
) -> Query:
    geo = _geo(given, vocabulary)
    enough = (
        any(one.types is not None for one in selectors)
        or any(given.get(name) for name in ("attrs", "q", "pick"))
        or geo is not None
        or given.get("local") == "true"
    )
    if not enough:
        raise BadRequestDataError(
            "say which entities are wanted: give at least one of type, attrs, pick, q, georel"
        )
    output = parse_output(given, vocabulary, temporal=temporal)
    history = parse_temporal(given, output) if temporal else None
    if history is not None and not history.timerel:
        raise BadRequestDataError("give a time: timerel and timeAt")
    limit, offset, count = _page(given)
    return Query(
        selectors=selectors,
        output=output,
        condition=parse_query(given["q"], vocabulary) if given.get("q") else None,
        geo=geo,
        limit=limit,
        offset=offset,
        count=count,
        temporal=history,
    )


def _geo(given: Parameters, vocabulary: Vocabulary) -> GeoQuery | None:
    parts = [given.get(name, "") for name in ("georel", "geometry", "coordinates")]
    if not any(parts):
        if given.get("geoproperty"):
            raise BadRequestDataError("geoproperty goes with georel, geometry and coordinates")
        return None
    iris = vocabulary.meanings(given.get("geoproperty") or "location")
    return parse_geo_query(parts[0], parts[1], parts[2], iris)


def parse_temporal(given: Parameters, output: Output) -> TemporalQuery:
    """Return what of the history is wanted.

    Raises:
        NgsiLdError: it makes no sense.
    """
    found = parse_window(
        given.get("timerel", ""), given.get("timeAt", ""), given.get("endTimeAt", "")
    )
    timeproperty = given.get("timeproperty") or "observedAt"
    if timeproperty not in ("observedAt", "createdAt", "modifiedAt"):
        raise BadRequestDataError(
            f"timeproperty is {timeproperty!r}: give observedAt, createdAt or modifiedAt"
        )
    methods, duration = given.get("aggrMethods", ""), given.get("aggrPeriodDuration", "")
    aggregation = parse_aggregation(methods, duration) if methods else None
    if output.temporal == "aggregatedValues":
        aggregation = parse_aggregation(methods, duration)
    elif duration and not methods:
        raise BadRequestDataError("aggrPeriodDuration goes with aggrMethods")
    return replace(
        found,
        timeproperty=timeproperty,
        last=parse_last(given.get("lastN", "")),
        aggregation=aggregation if output.temporal == "aggregatedValues" else None,
    )


def _page(given: Parameters) -> tuple[int, int, bool]:
    count = given.get("count", "false") or "false"
    if count not in ("true", "false"):
        raise BadRequestDataError(f"count is {count!r}: give true or false")
    limit = _whole("limit", given.get("limit") or str(PAGE))
    offset = _whole("offset", given.get("offset") or "0")
    if limit > LARGEST_PAGE:
        raise TooManyResultsError(f"limit is {limit}: a page has at most {LARGEST_PAGE} entities")
    if limit == 0 and count == "false":
        raise BadRequestDataError("limit=0 gives nothing but a count: add count=true")
    return limit, offset, count == "true"


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) > _MOST_OFFSET:
        raise BadRequestDataError(f"{name} is {text!r}: give a whole number")
    return int(text)


_BODY: Final = frozenset(
    {
        "type",
        "entities",
        "attrs",
        "pick",
        "omit",
        "q",
        "geoQ",
        "temporalQ",
        "lang",
        "@context",
    }
)


def parse_body(
    body: Any, given: Parameters, vocabulary: Vocabulary, *, temporal: bool = False
) -> Query:
    """Return what a Query (clause 5.2.23) asks for; paging and form stay query parameters.

    Raises:
        NgsiLdError: it makes no sense, or says too little.
    """
    if not isinstance(body, dict) or body.get("type") != "Query":
        raise BadRequestDataError('the body is no Query: give {"type": "Query", ...}')
    for name in body:
        if name in _UNSUPPORTED:
            raise OperationNotSupportedError(f"{name} is not supported here: leave it out")
        if name not in _BODY:
            raise BadRequestDataError(f"a Query has no member {name!r}")
    flat = {**given, **_flat(body, ("q", "lang")), **_lists(body, ("attrs", "pick", "omit"))}
    geo = body.get("geoQ")
    if geo is not None:
        flat |= _geo_of_body(_object("geoQ", geo))
    if body.get("temporalQ") is not None:
        times = _object("temporalQ", body["temporalQ"])
        flat |= _flat(times, ("timerel", "timeAt", "endTimeAt", "timeproperty"))
        flat |= _lists(times, ("aggrMethods",)) | _flat(times, ("aggrPeriodDuration",))
        flat |= _last_of_body(times)
    selectors = tuple(_selector(one, vocabulary) for one in _array(body.get("entities", [])))
    return _query(flat, selectors or (EntitySelector(),), vocabulary, temporal=temporal)


def _geo_of_body(geo: Mapping[str, Any]) -> dict[str, str]:
    found = _flat(geo, ("georel", "geometry", "geoproperty"))
    if "coordinates" in geo:
        found["coordinates"] = json.dumps(geo["coordinates"])
    return found


def _last_of_body(times: Mapping[str, Any]) -> dict[str, str]:
    last = times.get("lastN")
    if last is None:
        return {}
    if not isinstance(last, int) or isinstance(last, bool):
        raise BadRequestDataError(f"lastN is {last!r}: give a whole number")
    return {"lastN": str(last)}


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRequestDataError(f"{name} is no JSON object")
    return value


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST_NAMES:
        raise BadRequestDataError(f"entities is no array of at most {_MOST_NAMES} selectors")
    return value


def _flat(body: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            raise BadRequestDataError(f"{name} is no text")
        if value:
            found[name] = value
    return found


def _lists(body: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise BadRequestDataError(f"{name} is no array of names")
        if value:
            found[name] = ",".join(value)
    return found


def _selector(given: Any, vocabulary: Vocabulary) -> EntitySelector:
    """Return an EntitySelector (clause 5.2.33); its id may be one or several."""
    given = _object("an element of entities", given)
    texts = _flat(given, ("type", "idPattern"))
    ids = given.get("id", [])
    ids = [ids] if isinstance(ids, str) else ids
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise BadRequestDataError("the id of an entity selector is no URI or array of them")
    if "type" not in texts:
        raise BadRequestDataError("an element of entities has no type")
    return EntitySelector(
        ids=tuple(check_id(one) for one in ids),
        pattern=Pattern(texts["idPattern"]) if "idPattern" in texts else None,
        types=parse_types(texts["type"], vocabulary),
    )
