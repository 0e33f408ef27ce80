"""Connections, lines and pipes that several sensors read: each opened once, closed after the last.

A network server's uplinks, a bus, a receiver's output: many sensors, one opening. What cannot be
opened, or breaks, fails for every sensor that reads it; each is then started again by itself.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

_MOST_WAITING: Final = 100
_MOST_UNCLAIMED: Final = 100
_MOST_OF_NAME: Final = 64  # characters of an address that nobody claims; a stranger chose it
_GRACE_SECONDS: Final = 5.0  # sensors do not all start, or start again, at one moment


class SourceError(Exception):
    """What a sensor reads through has ended or broken; the message says how."""


def _nothing(_: object) -> None:
    """Do nothing with what nobody wants."""


class Sources:
    """What is open at present, by key.

    unclaimed: for each address that a stream spoke of and no sensor claims, how often it did;
    no more than the first hundred such addresses.
    kept: what an input must remember between two openings, under a key of its own.
    """

    def __init__(self) -> None:
        self.unclaimed: dict[str, int] = {}
        self.kept: dict[Hashable, Any] = {}
        self._opened: dict[Hashable, _Opened] = {}
        self._claims: dict[Hashable, set[Hashable]] = {}  # of each stream, by sensors of ours
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Begin; what is shared lives in tasks that end before this does."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:  # noqa: PYI036  # passed on
        """Close what is still open."""
        for opened in self._opened.values():
            opened.unwanted.set()
        await self._tasks.__aexit__(*exception)

    @asynccontextmanager
    async def shared(
        self, key: Hashable, opening: Callable[[], AbstractAsyncContextManager[T]]
    ) -> AsyncIterator[T]:
        """Give what `opening` opens, or what it opened for another sensor under the same key.

        It is opened and closed in a task of its own, so that no sensor's end harms another.

        Raises:
            Exception: what `opening` raised, to everybody who waits for it.
        """
        opened = self._opened.get(key)
        if opened is None:
            opened = self._opened[key] = _Opened()
            self._tasks.create_task(self._hold(key, opened, opening), name=f"source {key}")
        opened.users += 1
        try:
            yield await asyncio.shield(opened.ready)
        finally:
            opened.users -= 1
            if not opened.users:
                opened.unwanted.set()
                if self._opened.get(key) is opened:
                    del self._opened[key]

    async def _hold(
        self,
        key: Hashable,
        opened: "_Opened",
        opening: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> None:
        """Keep it open until nobody wants it; failures are for those who read it."""
        try:
            async with opening() as resource:
                opened.ready.set_result(resource)
                await opened.unwanted.wait()
        except Exception as error:  # noqa: BLE001  # handed on to whoever opened it
            if not opened.ready.done():
                opened.ready.set_exception(error)
                opened.ready.exception()  # seen, should they all have gone
            else:
                log.warning("source closed badly", extra={"source": str(key), "error": str(error)})
        finally:
            if not opened.ready.done():
                opened.ready.cancel()
            if self._opened.get(key) is opened:
                del self._opened[key]

    async def stream(
        self,
        key: Hashable,
        opening: Callable[[], AsyncGenerator[tuple[Hashable, T], None]],
        address: Hashable,
        unwanted: Callable[[T], None] = _nothing,
    ) -> AsyncGenerator[T, None]:
        """Yield what a shared stream brings for `address`; the stream yields (address, what).

        A sensor that takes nothing holds up the stream once a hundred are waiting for it: what
        brought them is to wait, too; so does what comes for a sensor that is being started again
        after a failure. Two sensors of one address both get everything. What no sensor has ever
        claimed is given to `unwanted`, for instance to acknowledge it; in the first seconds of a
        stream there is a wait before that.

        Raises:
            SourceError: the stream has ended.
            Exception: what `opening` or the stream raised, to everybody who reads it.
        """
        self._claims.setdefault(key, set()).add(address)
        async with self.shared(
            ("stream", key), lambda: self._distributed(key, opening, unwanted)
        ) as given:
            distributor: _Distributor = given
            waiting: asyncio.Queue[T] = asyncio.Queue(_MOST_WAITING)
            for what in distributor.kept.pop(address, ()):
                waiting.put_nowait(what)
            distributor.readers.setdefault(address, []).append(waiting)
            distributor.claimed.set()
            try:
                while True:
                    taking = asyncio.ensure_future(waiting.get())
                    try:
                        await asyncio.wait(
                            (taking, distributor.ended), return_when=asyncio.FIRST_COMPLETED
                        )
                        if not taking.done():
                            raise distributor.ended.result()
                        yield taking.result()
                    finally:
                        taking.cancel()
            finally:
                distributor.readers[address].remove(waiting)
                if not distributor.readers[address]:
                    del distributor.readers[address]
                if distributor.ended.done():  # a new one is opened by the next who asks
                    self._opened.pop(("stream", key), None)

    @asynccontextmanager
    async def _distributed(
        self,
        key: Hashable,
        opening: Callable[[], AsyncGenerator[tuple[Hashable, Any], None]],
        unwanted: Callable[[Any], None],
    ) -> AsyncIterator["_Distributor"]:
        distributor = _Distributor()

        async def distribute() -> None:
            try:
                async with aclosing(opening()) as found:
                    async for address, what in found:
                        claims = self._claims[key]
                        if address not in claims and _name(address) not in self.unclaimed:
                            await distributor.await_claim(address)
                        if address in claims:
                            await distributor.give(address, what)
                        else:
                            self._note_unclaimed(key, address)
                            unwanted(what)
                distributor.end(SourceError("it has ended"))
            except Exception as error:  # noqa: BLE001  # handed on to its readers
                distributor.end(error)

        task = asyncio.create_task(distribute(), name=f"stream {key}")
        try:
            yield distributor
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _note_unclaimed(self, key: Hashable, address: Hashable) -> None:
        name = _name(address)
        if name in self.unclaimed:
            self.unclaimed[name] += 1
        elif len(self.unclaimed) < _MOST_UNCLAIMED:
            self.unclaimed[name] = 1
            log.warning("no sensor claims this", extra={"address": name, "source": str(key)})


def _name(address: Hashable) -> str:
    """Return an address as it may be shown, kept and logged, whoever made it up."""
    text = str(address)[:_MOST_OF_NAME]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class _Opened:
    """Something shared: how many use it, when it is there, when it may go."""

    def __init__(self) -> None:
        self.users = 0
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.unwanted = asyncio.Event()


class _Distributor:
    """Who reads a stream, by address; what is kept for who is away; why it ended."""

    def __init__(self) -> None:
        self.readers: dict[Hashable, list[asyncio.Queue[Any]]] = {}
        self.kept: dict[Hashable, list[Any]] = {}
        self.claimed = asyncio.Event()
        self._begun = asyncio.get_running_loop().time()
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def await_claim(self, address: Hashable) -> None:
        """Return once somebody reads `address`, or when that is not to be expected.

        Strangers on the air are many, and must not hold up what is claimed each anew.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._begun + _GRACE_SECONDS):
                while address not in self.readers:
                    await self._change()

    async def give(self, address: Hashable, what: object) -> None:
        """Hand it to all who read `address`, or keep it for the sensor that is away."""
        while address not in self.readers:
            kept = self.kept.setdefault(address, [])
            if len(kept) < _MOST_WAITING:
                kept.append(what)
                return
            await self._change()
        for reader in tuple(self.readers[address]):
            await reader.put(what)

    async def _change(self) -> None:
        self.claimed.clear()
        await self.claimed.wait()

    def end(self, reason: Exception) -> None:
        """Tell every reader."""
        self.ended.set_result(reason)
