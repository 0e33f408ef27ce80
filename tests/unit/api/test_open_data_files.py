"""Writing a file while its next rows are fetched: in turn, and never after the file is left."""

import asyncio
import threading

import pytest

from api.open_data.files import WriteBehind
from standards_mapping.open_columns import Columns, columns_of
from tests.simulators.moved_site import MEANS

LIMIT_SECONDS = 30.0


class Writer:
    """Notes what it is given, once it is let; then fails if it shall."""

    def __init__(self, *, fails: bool = False) -> None:
        self.let = threading.Event()
        self.begun = threading.Event()
        self.written: list[Columns] = []
        self._fails = fails

    def write(self, columns: Columns) -> None:
        self.begun.set()
        assert self.let.wait(LIMIT_SECONDS)
        if self._fails:
            raise OSError("no space left")
        self.written.append(columns)


async def test_parts_are_written_in_turn_and_all_of_them() -> None:
    writer = Writer()
    parts = [columns_of([seen]) for seen in MEANS]
    async with WriteBehind(writer) as behind:
        await behind.write(parts[0])  # returns although nothing is written yet
        assert not writer.written
        writer.let.set()
        for part in parts[1:]:
            await behind.write(part)
    assert list(map(id, writer.written)) == list(map(id, parts))


async def write(writer: Writer, parts: int) -> None:
    async with WriteBehind(writer) as behind:
        for _ in range(parts):
            await behind.write(columns_of(MEANS))


async def leave(writer: Writer) -> None:
    async with WriteBehind(writer) as behind:
        await behind.write(columns_of(MEANS))
        assert await asyncio.to_thread(writer.begun.wait, LIMIT_SECONDS)
        threading.Timer(0.02, writer.let.set).start()
        raise ValueError("too many")


@pytest.mark.parametrize("parts", [1, 2, 3])
async def test_what_could_not_be_written_is_told(parts: int) -> None:
    writer = Writer(fails=True)
    writer.let.set()
    with pytest.raises(OSError, match="no space left"):
        await write(writer, parts)
    assert not writer.written


async def test_no_thread_writes_on_once_the_file_is_left_for_another_reason() -> None:
    writer = Writer()
    with pytest.raises(ValueError, match="too many"):
        await leave(writer)
    assert len(writer.written) == 1
