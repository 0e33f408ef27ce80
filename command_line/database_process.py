"""What the central processes share beside `process`: a database that lacks our tables is misuse.

Apart from `process`, which gateways use, too, and they have no database.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from storage.database import LACKS, lack
from storage.migration import MigrationError

Settings = TypeVar("Settings")


def on_database(
    main: Callable[[Settings], Coroutine[Any, Any, None]],
) -> Callable[[Settings], Coroutine[Any, Any, None]]:
    """Return `main`, raising MigrationError where a table is not there, in whichever task."""

    async def run(settings: Settings) -> None:
        lacking: list[BaseException] = []
        try:
            await main(settings)
        except* LACKS as group:
            lacking += group.exceptions
        if lacking:
            raise MigrationError(lack(_first(lacking[0])))

    return run


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
