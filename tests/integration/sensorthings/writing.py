"""An application over a seeded city with keys of its councils, for tests that write to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.sensorthings.routes import PREFIX
from api.service import open_app
from api.settings import ApiSettings
from storage.api_keys import add_key, draw_key
from storage.database import Connection, connect
from tests.simulators.registry import City, seed_city

Json = Any
ROOT = f"http://localhost{PREFIX}"


@dataclass(frozen=True)
class Writing:
    """A running application, a connection beside it, and a client with each council's key."""

    dsn: str
    app: FastAPI
    city: City
    conn: Connection
    camden: httpx.AsyncClient
    westminster: httpx.AsyncClient
    region: httpx.AsyncClient
    anybody: httpx.AsyncClient
    keys: dict[str, str]

    async def create(self, path: str, body: Json, **links: int) -> Json:
        """Create an entity as Camden; links: ids by the name of the relation. Return it."""
        body = body | {name: {"@iot.id": key} for name, key in links.items()}
        answer = await self.camden.post(path, json=body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == answer.json()["@iot.selfLink"]
        return answer.json()

    async def get(self, path: str) -> Json:
        """Return what Camden reads at a path."""
        answer = await self.camden.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what the database holds."""
        return await (await self.conn.execute(statement, values)).fetchall()

    async def survey(self, name: str = "Survey", result_unit: str = "ug/m3") -> tuple[int, int]:
        """Create a Thing with a place and a datastream kept by hand; return both ids."""
        thing = await self.create("Things", thing_body(name))
        sensor = await self.create("Sensors", SENSOR)
        datastream = await self.create(
            "Datastreams",
            datastream_body(result_unit),
            Thing=thing["@iot.id"],
            Sensor=sensor["@iot.id"],
            ObservedProperty=self.city.properties["no2"],
        )
        return thing["@iot.id"], datastream["@iot.id"]


SENSOR = {
    "name": "Diffusion tube",
    "description": "A Palmes tube with 50 % TEA in acetone",
    "encodingType": "text/html",
    "metadata": "https://example.org/tubes",
}


def location_body(name: str = "Lamp post 7", longitude: float = -0.12) -> Json:
    """Return a Location's body."""
    return {
        "name": name,
        "description": f"At {name}",
        "encodingType": "application/geo+json",
        "location": {"type": "Point", "coordinates": [longitude, 51.52]},
    }


def thing_body(name: str = "Survey") -> Json:
    """Return the body of a Thing with a Location in it."""
    return {
        "name": name,
        "description": "Part of a survey",
        "properties": {"tube": 7},
        "Locations": [location_body()],
    }


def datastream_body(unit: str = "ug/m3") -> Json:
    """Return a Datastream's body, without its links."""
    return {
        "name": "Nitrogen dioxide by tube",
        "description": "Four-weekly",
        "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
        "unitOfMeasurement": {"name": None, "symbol": unit, "definition": None},
    }


@asynccontextmanager
async def serve_writing(dsn: str) -> AsyncIterator[Writing]:
    """Serve a city for the length of the block; the database is fresh."""
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        city = await seed_city(conn)
        keys = {"camden": draw_key(), "westminster": draw_key(), "region": draw_key()}
        for tenant, key in keys.items():
            await add_key(
                conn,
                tenant=None if tenant == "region" else tenant,
                name="desk",
                scopes=["read", "write"],
                rate_class="bulk",
                key=key,
                expires_at=datetime.now(UTC) + timedelta(days=1),
                actor="test",
            )
        async with open_app(ApiSettings(dsn=dsn)) as app:

            def client(key: str = "") -> httpx.AsyncClient:
                return httpx.AsyncClient(
                    transport=httpx.ASGITransport(app),
                    base_url=f"{ROOT}/",
                    headers={"X-API-Key": key} if key else {},
                )

            async with (
                client(keys["camden"]) as camden,
                client(keys["westminster"]) as westminster,
                client(keys["region"]) as region,
                client() as anybody,
            ):
                yield Writing(dsn, app, city, conn, camden, westminster, region, anybody, keys)
