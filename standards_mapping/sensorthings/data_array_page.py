"""The Data Array form of a page of Observations (OGC 18-088, clause 12.2): a group a Datastream.

Names of properties stand once for each group instead of once for each observation. Creating
observations in this form is not here.
"""

from dataclasses import replace
from typing import Final

from standards_mapping.sensorthings.entity import Json
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.options import Options

_OBSERVATION: Final = ENTITY_TYPES["Observation"]
_KEPT: Final = ("@iot.count", "@iot.nextLink")


def components(options: Options) -> tuple[str, ...]:
    """Return what the rows of an answer hold: what is selected, else the id and every property.

    Raises:
        QueryError: something is asked for that a row cannot hold.
    """
    if options.expand:
        raise QueryError("$resultFormat=dataArray has no room for $expand")
    names = ("id", *_OBSERVATION.properties)
    for name in options.select or ():
        if name not in names:
            raise QueryError(f"$resultFormat=dataArray has no room for {name}; select properties")
    return names if options.select is None else options.select


def readable(options: Options) -> Options:
    """Return the options by which to read the entities that `data_array` needs.

    Raises:
        QueryError: something is asked for that a row cannot hold.
    """
    return replace(options, select=tuple(dict.fromkeys(("id", *components(options)))))


def data_array(answer: Json, options: Options, root: str) -> Json:
    """Return a page of observations as groups, in the order in which their Datastreams come.

    answer: a page of entities, read by `readable`. root: URL of the service, without a slash.
    """
    names = components(options)
    keys = ["@iot.id" if name == "id" else name for name in names]
    groups: dict[str, list[list[object]]] = {}
    for entity in answer["value"]:
        datastream = _datastream(entity["@iot.id"])
        groups.setdefault(datastream, []).append([entity.get(key) for key in keys])
    found: Json = {name: answer[name] for name in _KEPT if name in answer}
    found["value"] = [
        {
            "Datastream@iot.navigationLink": f"{root}/Datastreams({datastream})",
            "components": list(names),
            "dataArray@iot.count": len(rows),
            "dataArray": rows,
        }
        for datastream, rows in groups.items()
    ]
    return found


def _datastream(text: str) -> str:
    found = ObservationId.parse(text)
    if found is None:
        raise ValueError(f"{text!r} is not the id of an observation")
    return str(found.datastream)
