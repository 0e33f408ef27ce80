"""Where the next page begins, as text: what `$skiptoken` of our own nextLinks carries.

A token holds what the last entity of a page was sorted by, and its id: the next page starts after
that place in the order, whatever was added or taken away meanwhile. A digest binds it to the order
it was made for, so that one cut short, changed by hand, or put to another order is noticed. It
keeps no secret and needs none: it leads to nothing that the same request with $skip would not.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Final

import orjson

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import EntityType, Key

_DIGEST_BYTES: Final = 6
LONGEST: Final = 4096
"""Characters of a token at most; where the keys are longer than that, a page is told by number."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an order: after the entity `key`.

    values: the keys it was sorted by, as PostgreSQL writes them; None where null. Those that the
    entity's own key tells are left out.
    """

    values: tuple[str | None, ...]
    key: Key


def write_place(place: Place, entity_type: EntityType, order: str) -> str | None:
    """Return the token of a place in the order written `order`; None if it would be too long."""
    key = place.key if isinstance(place.key, int) else str(place.key)
    held = orjson.dumps([key, *place.values])
    token = base64.urlsafe_b64encode(_digest(held, entity_type, order) + held).rstrip(b"=")
    return token.decode() if len(token) <= LONGEST else None


def read_place(token: str, entity_type: EntityType, order: str) -> Place:
    """Return the place that a token of ours tells.

    Raises:
        QueryError: it is none, or of another order.
    """
    refused = QueryError("$skiptoken is not one that a nextLink of ours gave for this order")
    if len(token) > LONGEST:
        raise refused
    try:
        whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise refused from error
    digest, held = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    if digest != _digest(held, entity_type, order):
        raise refused
    if base64.urlsafe_b64encode(whole).rstrip(b"=") != token.encode():
        raise refused  # bits that no byte is made of
    try:
        written, *values = json.loads(held)
        key = entity_type.parse_key(str(written) if isinstance(written, int) else f"'{written}'")
    except (ValueError, TypeError) as error:
        raise refused from error
    if key is None or not all(value is None or isinstance(value, str) for value in values):
        raise refused
    return Place(tuple(values), key)


def _digest(held: bytes, entity_type: EntityType, order: str) -> bytes:
    about = hashlib.blake2b(f"{entity_type.name} {order}".encode())
    return hashlib.blake2b(held, key=about.digest(), digest_size=_DIGEST_BYTES).digest()
