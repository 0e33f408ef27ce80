"""Which paths are for programs: the open standards, their documents, files and the live stream.

There, errors have the form of each standard, foreign scripts may read, and a key counts; the rest
are pages for people.
"""

from typing import Final

SENSORTHINGS: Final = "/sensorthings/v1.1"
NGSI_LD: Final = "/ngsi-ld/v1"

_ROOTS: Final = (
    "/sensorthings",
    "/ngsi-ld",
    "/catalogue",
    "/data",
    "/sosa",
    "/contexts",
    "/id",
    "/live",
    "/batches",
    "/keys",
)
_SINGLE: Final = (
    "/catalogue.ttl",
    "/catalogue.jsonld",
    "/data.json",
    "/openapi.json",
    "/boundaries.geojson",
)
_BELOW: Final = tuple(f"{root}/" for root in _ROOTS)
_PAGES: Final = ("/live/gateways",)  # for the administration's own pages


def is_machine_path(path: str) -> bool:
    """Return whether `path` is for programs."""
    return (
        (path.startswith(_BELOW) and path not in _PAGES)
        or path in _ROOTS
        or path in _SINGLE
        or (path.startswith("/sites/") and path.endswith("/values.csv"))
    )


def is_below(path: str, root: str) -> bool:
    """Return whether `path` is `root` or a path below it."""
    return path == root or path.startswith(f"{root}/")
