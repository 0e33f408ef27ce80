"""A page of entities as GeoJSON (RFC 7946): an extension, as other SensorThings services have it.

An entity becomes a Feature: its geometry is its own, or that of the place it is about.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from standards_mapping.sensorthings.entity import Json
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import EntityType
from standards_mapping.sensorthings.options import Expand, Options

MEDIA_TYPE: Final = "application/geo+json"

_OWN: Final[Mapping[str, str]] = {
    "Location": "location",
    "FeatureOfInterest": "feature",
    "Datastream": "observedArea",
}
_LINKED: Final[Mapping[str, str]] = {
    "Thing": "Locations",
    "HistoricalLocation": "Locations",
    "Observation": "FeatureOfInterest",
}
_KEPT: Final = ("@iot.count", "@iot.nextLink")


def readable(options: Options, entity_type: EntityType) -> Options:
    """Return the options by which to read the entities that `feature_collection` needs.

    Raises:
        QueryError: entities of this type are nowhere.
    """
    select = options.select or ("id", "@iot.selfLink", *entity_type.properties)
    own, linked = _OWN.get(entity_type.name), _LINKED.get(entity_type.name)
    if own is not None:
        return replace(options, select=tuple(dict.fromkeys((*select, own))))
    if linked is None:
        raise QueryError(f"$resultFormat=GeoJSON: {entity_type.set_name} have no geometry")
    expand = options.expand
    if not _expands(options, linked):
        navigation = entity_type.navigations[linked]
        expand += (Expand(navigation, Options(select=(_OWN[navigation.target],))),)
    return replace(options, select=select, expand=expand)


def feature_collection(answer: Json, entity_type: EntityType, options: Options) -> Json:
    """Return a page as a FeatureCollection; a count and a nextLink keep their names in it.

    answer: a page of entities, read by `readable`.
    """
    found: Json = {"type": "FeatureCollection"}
    found |= {name: answer[name] for name in _KEPT if name in answer}
    found["features"] = [_feature(entity, entity_type, options) for entity in answer["value"]]
    return found


def _expands(options: Options, name: str) -> bool:
    return any(expand.navigation.name == name for expand in options.expand)


def _feature(entity: Json, entity_type: EntityType, options: Options) -> Json:
    properties = dict(entity)
    key = properties.pop("@iot.id", None)
    own = _OWN.get(entity_type.name)
    if own is not None:
        geometry = _geometry(properties.pop(own, None))
    else:
        linked = _LINKED[entity_type.name]
        geometry = _geometry_of(entity.get(linked), entity_type.navigations[linked].target)
        if not _expands(options, linked):
            for name in (linked, f"{linked}@iot.nextLink"):
                properties.pop(name, None)
    named: Json = {} if key is None else {"id": key}
    return {"type": "Feature"} | named | {"geometry": geometry, "properties": properties}


def _geometry_of(linked: Any, target: str) -> Json | None:
    name = _OWN[target]
    if not isinstance(linked, list):
        return None if linked is None else _geometry(linked.get(name))
    found = [each for each in (_geometry(entity.get(name)) for entity in linked) if each]
    if len(found) > 1:
        return {"type": "GeometryCollection", "geometries": found}
    return found[0] if found else None


def _geometry(value: Any) -> Json | None:
    """Return a geometry, or that of a Feature; None for anything else."""
    if not isinstance(value, dict):
        return None
    if value.get("type") == "Feature":
        return _geometry(value.get("geometry"))
    return value if "coordinates" in value or "geometries" in value else None
