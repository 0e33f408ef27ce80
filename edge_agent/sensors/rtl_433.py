"""Radio sensors of the licence-free bands, as rtl_433 decodes them; one for each transmitter.

This file runs rtl_433, or reads a FIFO or file that another one writes; sensors of one command
share it.
What its lines say is in `inputs.radio_packets`, how values become results in `inputs.fields`.
Tyre sensors and car keys, which identify vehicles, go no further than here: they are not named,
not counted, not logged, unless a sensor says that the vehicle is the council's own.
"""

import asyncio
import logging
import os
import stat
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_protocol.description import Datastream
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
    readings,
)
from edge_agent.inputs.radio_packets import (
    LineSplitter,
    Packet,
    Repeats,
    Transmitter,
    identifies_vehicle,
    is_vehicle_model,
    read_packet,
)
from runtime.settings import KeyPath, setting

log = logging.getLogger(__name__)

_COMMAND: Final = ("rtl_433", "-F", "json", "-M", "time:unix:usec")
_CHUNK_BYTES: Final = 65_536
_LAST_WORDS: Final = 3  # lines of stderr that are told when it ends
_LAST_WORDS_BYTES: Final = 300
_PATIENCE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 1.0  # between two looks at whether a file has grown


@dataclass(frozen=True, slots=True)
class Claim:
    """What a sensor wants of a source.

    own_vehicle: it is one of the council's own vehicles.
    """

    transmitter: Transmitter
    own_vehicle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtl433Settings(SensorSettings):
    """Reads one radio transmitter that rtl_433 decodes."""

    adapter: Literal["rtl_433"] = "rtl_433"
    command: tuple[str, ...] = setting(
        "Program and arguments that print JSON lines; no shell is involved. Sensors with the "
        "same command share one process.",
        default=_COMMAND,
        pattern=r"[^\0]+",
    )
    file: Path | None = setting(
        "Read this FIFO, or what is added to this file, where an rtl_433 run by others writes to, "
        "instead of running a command.",
        default=None,
    )
    model: str = setting("The transmitter's `model` as rtl_433 prints it.", pattern=r".+")
    id: str = setting(
        "Its `id`; empty: any, for sensors that take a new one with each battery.", default=""
    )
    channel: str = setting("Its `channel`; empty: any.", default="")
    own_vehicle: bool = setting(
        "It is a tyre sensor or key of the council's own vehicle, whose users know of it; those "
        "of others are always dropped.",
        default=False,
    )
    repeat_seconds: float = setting(
        "A packet that says the same within this time is the same packet, sent again to be safe.",
        default=3.0,
        minimum=0.0,
        maximum=60.0,
    )
    period_seconds: int | None = setting(
        "How often it is known to send; unset: no promise is made.", default=None, minimum=1
    )
    fields: Mapping[str, FieldSettings] = setting("What each of its values becomes.")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse vehicles of others, vehicles of any number, and fields that clash."""
        if not self.command:
            yield ("command",), "must name a program"
        if is_vehicle_model(self.model) and not self.own_vehicle:
            yield ("model",), "identifies vehicles and is dropped, unless own_vehicle says so"
        if self.own_vehicle and not self.id:
            yield ("id",), "must be given with own_vehicle"
        yield from table_contradictions("fields", self.fields)

    @property
    def claim(self) -> Claim:
        """What it wants of its source."""
        return Claim(Transmitter(self.model, self.id, self.channel), self.own_vehicle)


def datastreams(settings: Rtl433Settings) -> tuple[Datastream, ...]:
    """Return what the fields become."""
    return tuple(field.datastream(settings.period_seconds) for field in settings.fields.values())


async def harvests(
    settings: Rtl433Settings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield what each packet of the transmitter says; what it repeats only once."""
    sources, clock = surroundings.sources, surroundings.clock
    source = settings.file or settings.command
    faults = Faults("value unusable", sensor=settings.urn)
    repeats = Repeats(settings.repeat_seconds)
    async with sources.shared(("rtl_433 claims", source), _no_claims) as claims:
        claims.append(settings.claim)
        try:
            stream = sources.stream(
                ("rtl_433", source),
                lambda: packets(source, claims, clock),
                settings.claim.transmitter,
            )
            async with aclosing(stream) as found:
                async for packet in found:
                    if repeats.is_repeat(packet, clock.monotonic()):
                        continue
                    made = readings(
                        packet.document,
                        sensor=settings.urn,
                        fields=settings.fields.values(),
                        time=packet.time,
                        on_fault=faults.note,
                    )
                    if made:
                        yield Harvest(made)
        finally:
            claims.remove(settings.claim)


async def packets(
    source: Path | tuple[str, ...], claims: Sequence[Claim], clock: Clock
) -> AsyncGenerator[tuple[Transmitter, Packet], None]:
    """Yield each packet for every claim on it, or under its own name where there is none.

    Raises:
        AdapterError: the command has ended or cannot be run; the file cannot be read.
    """
    faults = Faults("packet unusable", source=str(source))
    opening = file_chunks(source) if isinstance(source, Path) else command_chunks(source)
    splitter = LineSplitter()
    async with aclosing(opening) as chunks:
        async for chunk in chunks:
            for line in splitter.feed(chunk):
                try:
                    packet = read_packet(line, clock.now())
                except FieldError as fault:
                    faults.note(fault)
                    continue
                if packet is not None:
                    for address in addressees(packet, claims):
                        yield address, packet


def addressees(packet: Packet, claims: Iterable[Claim]) -> frozenset[Transmitter]:
    """Return the claims that a packet meets, or its own name; nothing for others' vehicles."""
    vehicle = identifies_vehicle(packet.document)
    found = frozenset(
        claim.transmitter
        for claim in claims
        if packet.transmitter.is_claimed_by(claim.transmitter)
        and (claim.own_vehicle or not vehicle)
    )
    return found if found or vehicle else frozenset({packet.transmitter})


async def command_chunks(command: tuple[str, ...]) -> AsyncGenerator[bytes, None]:
    """Run a command and yield what it prints; it ends with whoever reads it.

    Raises:
        AdapterError: it cannot be run, or has ended; with its status and last words.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise AdapterError(f"{command[0]} cannot be run: {error.strerror}") from error
    words: deque[bytes] = deque(maxlen=_LAST_WORDS)
    listening = asyncio.create_task(_drain(process, words), name=f"stderr of {command[0]}")
    try:
        while chunk := await _output(process).read(_CHUNK_BYTES):
            yield chunk
        with suppress(TimeoutError):  # it may live on without its output
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await listening
                await process.wait()
        said = b"; ".join(words).decode(errors="replace") or "nothing"
        status = process.returncode
        raise AdapterError(f"{command[0]} has ended (status {status}); it last said: {said}")
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await _end(process)


async def file_chunks(path: Path) -> AsyncGenerator[bytes, None]:
    """Yield what is written to a FIFO or added to a file from now on.

    Writers may come and go; a file may be cut or replaced by a new one.

    Raises:
        AdapterError: it cannot be read.
    """
    try:
        chunks = _written(path) if _is_fifo(path) else _added(path)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror}") from error


async def _added(path: Path) -> AsyncGenerator[bytes, None]:
    growing = _GrowingFile(path)
    try:
        while True:
            if chunk := await asyncio.to_thread(growing.read):
                yield chunk
            else:
                await asyncio.sleep(_LOOK_SECONDS)
    finally:
        growing.close()


async def _written(fifo: Path) -> AsyncGenerator[bytes, None]:
    # Opened for writing, too: so it does not end whenever a writer does.
    file = os.fdopen(os.open(fifo, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            yield chunk
    finally:
        transport.close()


class _GrowingFile:
    """A file that others add to, read from its present end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._file.seek(0, os.SEEK_END)

    def read(self) -> bytes:
        """Return what has been added; from its beginning where a new file stands there."""
        if added := self._file.read(_CHUNK_BYTES):
            return added
        if self._is_another():
            self._file.close()
            self._file = self._path.open("rb", buffering=0)
        return self._file.read(_CHUNK_BYTES)

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def _is_another(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False  # moved away, and not yet made anew
        ours = os.fstat(self._file.fileno())
        return not os.path.samestat(there, ours) or there.st_size < self._file.tell()


def _is_fifo(path: Path) -> bool:
    return stat.S_ISFIFO(path.stat().st_mode)


async def _drain(process: Process, words: deque[bytes]) -> None:
    """Keep the last lines of what a process complains about, so that it never waits for us."""
    splitter = LineSplitter()
    if process.stderr is None:
        return
    while chunk := await process.stderr.read(_CHUNK_BYTES):
        words.extend(
            line.strip()[:_LAST_WORDS_BYTES] for line in splitter.feed(chunk) if line.strip()
        )


async def _end(process: Process) -> None:
    """Ask a process to end, and make it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _output(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise AssertionError("started with a pipe")
    return process.stdout


@asynccontextmanager
async def _no_claims() -> AsyncIterator[list[Claim]]:
    yield []


ADAPTER: Final = Adapter(Rtl433Settings, datastreams, harvests)
