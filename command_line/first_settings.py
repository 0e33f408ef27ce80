"""The settings file of a gateway that has just enrolled: enough to run, and a start for more.

Everything in it comes from what the certificate service said: the council, the broker, and the
site. Reading settings is `runtime.settings`' business.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from command_line.toml_text import toml_text
from edge_agent.credentials import identity
from edge_agent.credentials.enrolment import Enrolled, KeyKind
from edge_agent.credentials.est import UnusableError
from edge_agent.credentials.identity import Origin
from edge_agent.settings import SignerSettings

_HEAD: Final = (
    "# Settings of one gateway; `kerbstone agent check-config` names mistakes, and the settings\n"
    "# reference says what else there is. Add a [[sensor]] for each sensor that hangs on it.\n\n"
)
_NOT_IN_A_URN: Final = re.compile(r"[^A-Za-z0-9._/-]+")


def first_settings(
    enrolled: Enrolled, state_directory: Path, kind: KeyKind, signer: SignerSettings | None
) -> str:
    """Return a first agent.toml; without longitude and latitude if the site has none.

    Raises:
        UnusableError: what the service said is not complete.
    """
    current = enrolled.current
    try:
        origin = current.origin()
        network = current.document(identity.NETWORK)
        thing = _thing(current.document(identity.SITE), origin)
        document = _document(origin, network, enrolled.directory, state_directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableError(f"the certificate service left something out: {error!r}") from error
    document["enrolment"]["key"] = kind
    if signer is not None:
        document["signer"] = {
            "module": str(signer.module),
            "label": signer.label,
            "pin_file": str(signer.pin_file),
        }
    document["thing"] = [thing]
    document["sensor"] = [
        {
            "adapter": "host",
            "urn": f"{thing['urn']}:computer",
            "thing": thing["urn"],
            "name": "Computer",
            "description": "The gateway's own computer.",
        }
    ]
    return _HEAD + toml_text(document)


def _document(
    origin: Origin, network: Mapping[str, Any], directory: Path, state_directory: Path
) -> dict[str, Any]:
    current = directory / "current"
    broker = network["broker"]
    return {
        "tenant": origin.tenant,
        "device": origin.device,
        "group": str(network["group"]),
        "state_directory": str(state_directory),
        "broker": {
            "host": str(broker["host"]),
            "port": int(broker["port"]),
            "mqtt_version": str(broker["mqtt_version"]),
            "ca_file": str(current / identity.REGION_ROOT),
            "certificate_file": str(current / identity.CERTIFICATE),
            "key_file": str(current / identity.KEY),
        },
        "trust": {"council_root_file": str(current / identity.COUNCIL_ROOT)},
        "enrolment": {"url": origin.url, "directory": str(directory)},
    }


def _thing(site: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Return the site as a thing; its name stays when another gateway takes this one's place."""
    reference = str(site.get("site") or origin.device)
    name = str(site.get("label") or reference)
    thing: dict[str, Any] = {
        "urn": f"urn:dev:kerbstone:{origin.tenant}:{_in_urn(reference)}",
        "name": name,
        "description": f"Site {reference}.",
        "place_name": str(site.get("place_name") or name),
    }
    for key in ("longitude", "latitude"):
        if site.get(key) is not None:
            thing[key] = float(site[key])
    return thing


def _in_urn(reference: str) -> str:
    """Return a council's reference as part of a URN, different for different references."""
    if not _NOT_IN_A_URN.search(reference):
        return reference
    digest = hashlib.sha256(reference.encode()).hexdigest()[:8]
    return f"{_NOT_IN_A_URN.sub('-', reference)}-{digest}"
