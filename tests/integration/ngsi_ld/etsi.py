"""What the conformance cases share: their data, how they ask, and how answers are compared.

Data and expectations are those of ETSI's suite (tests/data/etsi_ngsi_ld); the cases are told anew.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.ngsi_ld.routes import PREFIX
from standards_mapping.ngsi_ld.times import parse_time
from tests.simulators.ngsi_ld_entities import EntitiesInMemory

DATA = Path(__file__).parents[2] / "data" / "etsi_ngsi_ld"
CONTEXT_URL = "https://ngsi-ld-test-suite/context.jsonld"
LINK = f'<{CONTEXT_URL}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
IRI = "https://ngsi-ld-test-suite/context#"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"

Json = Any


def load(name: str) -> Json:
    """Return a document of the suite."""
    return json.loads((DATA / "data" / name).read_text(encoding="utf-8"))


def context() -> Json:
    """Return the terms of the suite's context."""
    text = (DATA / "jsonld-contexts" / "ngsi-ld-test-suite.jsonld").read_text(encoding="utf-8")
    return json.loads(text)["@context"]


def plain(value: Json) -> Json:
    """Return JSON with what the suite does not compare made alike.

    The order of instances and of lists of names, how a time is written, and @context.
    """
    if isinstance(value, dict):
        return {
            name: value["coordinates"] if name == "coordinates" else plain(one)
            for name, one in value.items()
            if name not in ("@context", "instanceId")
        }
    if isinstance(value, list):
        return sorted(
            (plain(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True)
        )
    if isinstance(value, float) and value == int(value):
        return int(value)
    try:
        return parse_time(value).isoformat() if isinstance(value, str) else value
    except ValueError:
        return value


@dataclass(frozen=True)
class Etsi:
    """The service over entities in memory."""

    client: httpx.AsyncClient
    kept: EntitiesInMemory

    def add(self, name: str, *ids: str) -> None:
        """Keep a document of the suite under each of these ids."""
        for one in ids:
            self.kept.add(load(name), one)

    async def ask(
        self, path: str, *, linked: bool = False, accept: str = "application/json", **given: Any
    ) -> httpx.Response:
        """Return the answer to a path below the root; empty parameters are left out."""
        headers = {"Accept": accept, **({"Link": LINK} if linked else {})}
        asked = {name: text for name, text in given.items() if text}
        return await self.client.get(f"{PREFIX}/{path}", params=asked, headers=headers)

    async def get(self, path: str, *, status: int = 200, **given: Any) -> Json:
        """Return the JSON of an answer."""
        response = await self.ask(path, **given)
        assert response.status_code == status, response.text
        return response.json()

    async def refused(self, status: int, name: str, path: str, **given: Any) -> None:
        """Check that an answer is a problem of a type, with a title."""
        response = await self.ask(path, **given)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body = response.json()
        assert body["type"] == ERRORS + name
        assert body["title"]

    async def count(self, path: str, **given: Any) -> int:
        """Return how many there are by the header that says so."""
        response = await self.ask(path, count="true", **given)
        assert response.status_code == 200, response.text
        return int(response.headers["NGSILD-Results-Count"])
