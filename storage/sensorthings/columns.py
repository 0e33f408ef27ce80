"""A page of observations sent column by column, in one row, for `observation_text` to write.

That is quicker than a row for each: the server puts the numbers that all have one after the other,
and what few have is sent only where one has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import numpy as np
from psycopg import sql

from standards_mapping.sensorthings.model import ObservationId
from standards_mapping.sensorthings.observation_text import COLUMNS as WRITTEN
from standards_mapping.sensorthings.observation_text import ObservationColumns
from standards_mapping.sensorthings.skiptoken import Place
from storage.sensorthings.operand import Sql
from storage.sensorthings.schema import COLUMNS, VALID_TIME

_POSTGRES_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
_SENT: Final = 5  # numbers of eight octets, all of one observation together
_OTHERS: Final = tuple(name for name in COLUMNS["Observation"] if name not in WRITTEN)
_READ: Final[tuple[LiteralString, ...]] = (
    """int8send({e}.datastream_id::bigint) || timestamptz_send({e}.time)
       || timestamptz_send(coalesce({e}.started, {e}.time))
       || float8send(coalesce({e}.value, 'NaN')) || int8send({e}.quality::bigint)""",
    "CASE WHEN {e}.value IS NULL THEN {e}.result END",
)
"""What is read of each: what all have, and a result that is no number."""


@dataclass(frozen=True, slots=True)
class TextPage:
    """Observations as `observation_text` writes them; rest: where the next page begins."""

    rows: ObservationColumns
    rest: Place | None = None


def columns_read(alias: sql.Identifier) -> list[Sql]:
    """Return what to select of each observation for `in_one_row`."""
    others = [
        VALID_TIME if name == "validTime" else COLUMNS["Observation"][name].read[0]
        for name in _OTHERS
    ]
    return [sql.SQL(text).format(e=alias) for text in (*_READ, *others)]


def in_one_row(
    page: sql.Composed, read: Sequence[sql.Identifier], places: Sequence[sql.Identifier]
) -> sql.Composed:
    """Return a page's statement made to give its rows, in their order, as one.

    read: the names of its `columns_read`. places: of what tells the place of each in the order.
    """
    sent, *rare = read
    columns: list[Sql] = [sql.SQL("string_agg({}, ''::bytea)").format(sent)]
    columns += [
        sql.SQL("CASE WHEN count({0}) > 0 THEN array_agg({0}) END").format(name) for name in rare
    ]
    columns += [sql.SQL("array_agg({})").format(name) for name in places]
    return sql.SQL("SELECT {} FROM ({}) AS page").format(sql.SQL(", ").join(columns), page)


def text_page(row: Sequence[Any], limit: int) -> TextPage:
    """Return the page that such a row tells; one more than `limit` was asked for."""
    octets, results, *more = row
    asked = np.frombuffer(octets or b"", ">i8").reshape(-1, _SENT)
    sent = np.ascontiguousarray(asked[:limit].T, np.int64)
    sent[1:3] += _POSTGRES_EPOCH_MICROSECONDS
    streams, times, starts, values, qualities = sent
    found = ObservationColumns(
        streams=streams,
        times=times,
        starts=starts,
        values=values.view(np.float64),
        qualities=qualities,
        results=() if results is None else results[:limit],
        others={
            name: column[:limit]
            for name, column in zip(_OTHERS, more, strict=False)
            if column is not None
        },
    )
    if not 0 < limit < len(asked):
        return TextPage(found)
    key = ObservationId(int(streams[-1]), int(times[-1]))
    return TextPage(found, Place(tuple(each[limit - 1] for each in more[len(_OTHERS) :]), key))
