"""Data arrays that create observations: bad rows are told, bad arrays refused."""

import pytest

from standards_mapping.sensorthings.data_array_body import FEATURE, MOST_ROWS, parse_data_arrays
from standards_mapping.sensorthings.errors import QueryError, TooLargeError


def array(components: object, rows: object, datastream: object = 1) -> dict[str, object]:
    return {
        "Datastream": {"@iot.id": datastream},
        "components": components,
        "dataArray": rows,
    }


def test_each_row_is_values_or_the_reason_why_not() -> None:
    (found,) = parse_data_arrays(
        [
            array(
                ["id", "result", FEATURE],
                [[None, 1, 2], [None, [], 2], [None, 1], 7, ["x", 2, None]],
            )
        ]
    )
    assert found.datastream == 1
    good = [row for row in found.rows if not isinstance(row, Exception)]
    assert good == [{"result": 1.0, FEATURE: 2}, {"result": 2.0, FEATURE: None}]
    assert [isinstance(row, QueryError) for row in found.rows] == [False, True, True, True, False]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [3],
        [array(["result"], [], "1")],
        [array(["result"], [], 0)],
        [array(["result", "result"], [])],
        [array(["phenomenonTime"], [])],
        [array([["result"]], [])],
        [array(["result", "colour"], [])],
        [array("result", [])],
    ],
)
def test_an_array_that_makes_no_sense_is_refused(body: object) -> None:
    with pytest.raises(QueryError):
        parse_data_arrays(body)


def test_rows_are_bounded() -> None:
    with pytest.raises(TooLargeError, match=str(MOST_ROWS)):
        parse_data_arrays([array(["result"], [[1]] * (MOST_ROWS + 1))])
