"""A sensor, or a service that speaks for it, whose readings are fetched by HTTP every so often.

Asks conditionally (RFC 9110, section 13), keeps to what the server says about coming again
(Retry-After), and takes a reading once only where its time is told.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    SensorSettings,
    Surroundings,
    table_contradictions,
)
from edge_agent.clock import Clock
from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import (
    FieldError,
    FieldSettings,
    TimeForm,
    future_allowed,
    path_mistake,
    read_json,
    readings,
    time_of,
)
from edge_agent.inputs.http_get import FetchError, Response, get
from runtime.settings import KeyPath, setting

_MOST_BYTES: Final = 1024 * 1024
_LONGEST_WAIT_SECONDS: Final = 3600.0
_AGE_SECONDS: Final = 2.0  # an age in whole seconds makes times that differ by less
_NOTHING_NEW: Final = (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT)
_HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPollSettings(SensorSettings):
    """Fetches JSON by HTTP every so often."""

    adapter: Literal["http_poll"] = "http_poll"
    url: str = setting("What to fetch: http or https, without user or password.", pattern=r"\S+")
    interval_seconds: float = setting(
        "Time between two requests.", default=60.0, minimum=0.1, maximum=86_400.0
    )
    timeout_seconds: float = setting(
        "Time for a whole request.", default=20.0, minimum=0.1, maximum=300.0
    )
    ca_file: Path | None = setting(
        "Root certificate, PEM, that alone is trusted; unset: those this machine trusts.",
        default=None,
    )
    token_file: Path | None = setting("File that holds a token to send.", default=None)
    token_header: str = setting(
        "Header that carries the token; in Authorization it is sent as a bearer.",
        default="Authorization",
        pattern=r"[A-Za-z][A-Za-z0-9-]*",
    )
    fields: Mapping[str, FieldSettings] = setting("What each value becomes.")
    period_seconds: int | None = setting(
        "How often there is a new reading; unset: at every request.", default=None, minimum=1
    )
    time_path: str = setting(
        "Where it says when it was measured; empty, or nothing there: when it was fetched.",
        default="",
    )
    time_form: TimeForm = setting("How that time is written.", default="iso8601")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse fields that clash, a path that is none and a url that cannot be fetched."""
        yield from table_contradictions("fields", self.fields)
        mistake = path_mistake(self.time_path) if self.time_path else None
        if mistake:
            yield ("time_path",), mistake
        if not _is_fetchable(self.url):
            yield ("url",), "must be http://host/... or https://host/..., without user or password"
        if self.ca_file is not None and not self.url.startswith("https:"):
            yield ("ca_file",), "is for https only"


@dataclass(slots=True)
class _Progress:
    """What is known of the resource; outlives a failure of the adapter.

    validators: headers that make a request conditional. newest: time of the last reading.
    not_before: monotonic time before which the server wants no request.
    """

    validators: Mapping[str, str]
    newest: datetime | None = None
    not_before: float = 0.0


def datastreams(settings: HttpPollSettings) -> tuple[Datastream, ...]:
    """Return what the fields become."""
    period = settings.period_seconds or max(1, round(settings.interval_seconds))
    return tuple(field.datastream(period) for field in settings.fields.values())


async def harvests(
    settings: HttpPollSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield what is new at each request.

    Raises:
        AdapterError, OSError: no answer, or one that is of no use.
    """
    clock, faults = surroundings.clock, Faults("value unusable", sensor=settings.urn)
    progress: _Progress = surroundings.sources.kept.setdefault(
        ("http_poll", settings.urn), _Progress({})
    )
    tls = await asyncio.to_thread(_tls, settings)
    due, is_answered = max(clock.monotonic(), progress.not_before), False
    while True:
        await asyncio.sleep(due - clock.monotonic())
        response = await _fetch(settings, progress, tls)
        if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            wait = retry_after(response.headers.get("retry-after", ""), clock.unix())
            progress.not_before = clock.monotonic() + wait
        made: tuple[Reading, ...] = ()
        if response.status == HTTPStatus.OK:
            try:
                made = _read(settings, response.body, clock, progress, faults)
            except FieldError as fault:
                raise AdapterError(f"{settings.url}: {fault}") from fault
            progress.validators = _validators(response.headers)
        elif response.status not in _NOTHING_NEW:
            raise AdapterError(f"{settings.url} answers {response.status}")
        if made or not is_answered:
            is_answered = True
            yield Harvest(made)
        due = max(due + settings.interval_seconds, clock.monotonic())


def retry_after(value: str, now: float) -> float:
    """Return seconds until a server wants to be asked again (RFC 9110, 10.2.3); 0 if it says not.

    value: of Retry-After. now: Unix time. No more than an hour.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            seconds = _unix(text) - now
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def _unix(http_date: str) -> float:
    parts = time.strptime(http_date, _HTTP_DATE)
    return datetime.fromisoformat(time.strftime("%Y-%m-%dT%H:%M:%S+00:00", parts)).timestamp()


async def _fetch(
    settings: HttpPollSettings, progress: _Progress, tls: ssl.SSLContext | None
) -> Response:
    secret = await asyncio.to_thread(_secret_headers, settings)
    headers = {"Accept": "application/json", "User-Agent": "kerbstone", **progress.validators}
    try:
        async with asyncio.timeout(settings.timeout_seconds):
            return await get(
                settings.url,
                headers=headers,
                secret_headers=secret,
                tls=tls,
                most_bytes=_MOST_BYTES,
            )
    except TimeoutError as error:
        reason = f"no answer within {settings.timeout_seconds:g} s"
        raise AdapterError(f"{settings.url}: {reason}") from error
    except FetchError as error:
        raise AdapterError(f"{settings.url}: {error}") from error


def _read(
    settings: HttpPollSettings,
    body: bytes,
    clock: Clock,
    progress: _Progress,
    faults: Faults,
) -> tuple[Reading, ...]:
    """Return what is new in a body.

    Raises:
        FieldError: it is no JSON, or its time is none.
    """
    document = read_json(body)
    measured = time_of(
        document,
        settings.time_path,
        settings.time_form,
        clock.now(),
        future_seconds=future_allowed(clock),
    )
    if settings.time_path:
        leeway = _AGE_SECONDS if settings.time_form == "seconds_ago" else 0.0
        newest = progress.newest
        if newest is not None and (measured - newest).total_seconds() <= leeway:
            return ()
        progress.newest = measured
    return readings(
        document,
        sensor=settings.urn,
        fields=settings.fields.values(),
        time=measured,
        on_fault=faults.note,
    )


def _validators(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers that ask for what is newer than this (RFC 9110, 13.1)."""
    pairs = (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
    return {request: headers[response] for request, response in pairs if response in headers}


def _secret_headers(settings: HttpPollSettings) -> Mapping[str, str]:
    if settings.token_file is None:
        return {}
    token = settings.token_file.read_text().strip()
    is_bearer = settings.token_header.lower() == "authorization" and " " not in token
    return {settings.token_header: f"Bearer {token}" if is_bearer else token}


def _tls(settings: HttpPollSettings) -> ssl.SSLContext | None:
    """Return how a server is trusted; None where nothing can lead to one by https."""
    if settings.url.startswith("http:") and settings.ca_file is None:
        return None
    return ssl.create_default_context(cafile=settings.ca_file)


def _is_fetchable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.username is None
        and port != 0
    )


ADAPTER: Final = Adapter(HttpPollSettings, datastreams, harvests)
