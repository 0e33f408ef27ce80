import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest

from command_line.database_process import on_database
from storage.migration import MigrationError


async def ask(settings: str) -> None:
    raise psycopg.errors.UndefinedTable(f'relation "{settings}" does not exist\nLINE 5: FROM')


async def ask_in_a_task(settings: str) -> None:
    async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
        inner.create_task(ask(settings))
        outer.create_task(asyncio.sleep(60))


@pytest.mark.parametrize("main", [ask, ask_in_a_task])
async def test_a_database_without_our_tables_is_named_with_its_remedy(
    main: Callable[[str], Coroutine[Any, Any, None]],
) -> None:
    with pytest.raises(MigrationError) as caught:
        await on_database(main)("gateway")
    assert 'relation "gateway" does not exist)' in str(caught.value)
    assert "kerbstone database migrate" in str(caught.value)
    assert "LINE 5" not in str(caught.value)


async def test_another_mistake_is_a_bug() -> None:
    async def err(settings: str) -> None:
        raise ZeroDivisionError(settings)

    with pytest.raises(ZeroDivisionError):
        await on_database(err)("gateway")
