"""JSON Patch of an entity (RFC 6902; OGC 18-088, requirement json-patch).

Pure: the entity comes as the JSON that a GET answers; what comes out is what a PATCH would say.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any, Final

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from standards_mapping.sensorthings.errors import ConflictError, QueryError
from standards_mapping.sensorthings.model import EntityType

MOST_OPERATIONS: Final = 1000

MOST_COPIED_BYTES: Final = 1 << 20
"""Of JSON that the copy operations of one patch may copy: each can double what there is."""


def patched(entity_type: EntityType, entity: dict[str, Any], patch: object) -> dict[str, Any]:
    """Return those members of an entity that a patch changes; null for what it removes.

    Raises:
        QueryError: it is no JSON Patch, or too large a one.
        ConflictError: it cannot be applied to the entity as it is, e.g. a test fails.
    """
    if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
        raise QueryError("a JSON Patch is a list of operations (RFC 6902)")
    if len(patch) > MOST_OPERATIONS:
        raise QueryError(f"{len(patch)} operations, limit {MOST_OPERATIONS}")
    before = {name: entity[name] for name in entity_type.properties if name in entity}
    try:
        after = _applied([jsonpatch.JsonPatch([step]) for step in patch], copy.deepcopy(before))
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed) as error:
        raise ConflictError(f"the patch does not fit the entity as it is: {error}") from error
    except (
        jsonpatch.JsonPatchException,
        JsonPointerException,
        TypeError,  # of operations on what is no container
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as error:
        raise QueryError(f"not a JSON Patch that can be applied: {error}") from error
    if not isinstance(after, dict):
        raise QueryError("after the patch it would be no entity")
    removed: dict[str, Any] = {name: None for name in before if name not in after}
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or not _same(value, before[name])
    }
    return removed | changed


def _applied(steps: Sequence[jsonpatch.JsonPatch], entity: Any) -> Any:
    """Return what becomes of an entity by one step after the other.

    Raises:
        QueryError: they copy more than `MOST_COPIED_BYTES`.
    """
    copied = 0
    for step in steps:
        [operation] = step.patch
        if operation["op"] == "copy":
            source = JsonPointer(operation["from"]).resolve(entity, None)
            copied += len(json.dumps(source, separators=(",", ":")))
            if copied > MOST_COPIED_BYTES:
                raise QueryError(
                    f"a patch that copies more than {MOST_COPIED_BYTES:,} bytes of JSON: send"
                    " what it should become"
                )
        entity = step.apply(entity, in_place=True)
    return entity


def _same(first: object, second: object) -> bool:
    """Whether two JSON values are equal; Python takes true for 1."""
    return first == second and repr(first) == repr(second)
