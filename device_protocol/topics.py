"""The MQTT topics of protocol version 1 (envelope, section 2): built and parsed here only.

Topic filters for subscriptions and broker access lists are not here: they belong to those who
subscribe and to `broker_config`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from device_protocol.errors import TopicError, VersionError

VERSION = 1

_TENANT = r"[a-z0-9][a-z0-9-]{0,31}"
_DEVICE = r"[a-z0-9][a-z0-9-]{0,47}"
_GROUP = r"[a-z0-9][a-z0-9-]{0,15}"
_TOPIC = re.compile(
    rf"snaas/(?P<version>[0-9]{{1,9}})/(?P<tenant>{_TENANT})/"
    rf"(?:(?P<device>{_DEVICE})/(?:(?P<grouped>[kda])/(?P<group>{_GROUP})|(?P<settings>c))"
    r"|(?P<keys>r))"
)
_NAMES = {
    "tenant": re.compile(_TENANT),
    "device": re.compile(_DEVICE),
    "group": re.compile(_GROUP),
}


class Kind(StrEnum):
    """What a topic carries; the value is its topic level."""

    ANNOUNCEMENT = "k"
    DATA = "d"
    ACKNOWLEDGEMENT = "a"
    CONFIGURATION = "c"
    KEY_SET = "r"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart; `device` and `group` are empty where its kind has none."""

    kind: Kind
    tenant: str
    device: str
    group: str


@lru_cache(maxsize=4096)
def parse(topic: str, *, prefix: str = "") -> Topic:
    """Take a topic apart, after stripping the prefix a bridge has put before it.

    What was taken apart is remembered: a receiver sees few topics, each with every message.

    Raises:
        TopicError: not of the form in section 2, or without the prefix.
        VersionError: of that form, but of another protocol version.
    """
    if not topic.startswith(prefix):
        raise TopicError(f"topic without the prefix {prefix!r}")
    match = _TOPIC.fullmatch(topic, len(prefix))
    if match is None:
        raise TopicError(f"topic of {len(topic)} characters is not of the form in section 2")
    if match["version"] != str(VERSION):
        raise VersionError(f"topic version {match['version']}, known: {VERSION}")
    kind = Kind(match["grouped"] or match["settings"] or match["keys"])
    return Topic(kind, match["tenant"], match["device"] or "", match["group"] or "")


def announcement(tenant: str, device: str, group: str) -> str:
    """Topic of message K: QoS 1, retained."""
    return _grouped(Kind.ANNOUNCEMENT, tenant, device, group)


def data(tenant: str, device: str, group: str) -> str:
    """Topic of message D: QoS 1, never retained."""
    return _grouped(Kind.DATA, tenant, device, group)


def acknowledgement(tenant: str, device: str, group: str) -> str:
    """Topic of message A: QoS 1, not retained."""
    return _grouped(Kind.ACKNOWLEDGEMENT, tenant, device, group)


def configuration(tenant: str, device: str) -> str:
    """Topic of message C: QoS 1, retained."""
    return f"snaas/{VERSION}/{checked('tenant', tenant)}/{checked('device', device)}/c"


def key_set(tenant: str) -> str:
    """Topic of message R: QoS 1, retained."""
    return f"snaas/{VERSION}/{checked('tenant', tenant)}/r"


def checked(level: str, name: str) -> str:
    """Return a "tenant", "device" or "group" name that fits its topic level.

    Raises:
        TopicError: it does not (section 2).
    """
    if not _NAMES[level].fullmatch(name):
        raise TopicError(f"{name!r} cannot be a {level}: {_NAMES[level].pattern}")
    return name


def _grouped(kind: Kind, tenant: str, device: str, group: str) -> str:
    return (
        f"snaas/{VERSION}/{checked('tenant', tenant)}/{checked('device', device)}"
        f"/{kind}/{checked('group', group)}"
    )
