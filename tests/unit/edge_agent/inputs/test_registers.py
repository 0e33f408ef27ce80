"""Registers are read in few requests, none too long, and their words become what they say."""

import math
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inputs.registers import (
    MOST_BITS,
    MOST_REGISTERS,
    Block,
    RegisterSettings,
    beyond,
    plan,
    result_of,
    results,
)


def register(address: int = 0, **changes: object) -> RegisterSettings:
    values: dict[str, object] = {
        "name": "a",
        "title": "A",
        "description": "A.",
        "observed_property": "supply_voltage",
        "unit": "V",
        "address": address,
    }
    return RegisterSettings(**(values | changes))  # type: ignore[arg-type]


def spans(blocks: Sequence[Block]) -> list[tuple[str, int, int]]:
    return [(block.kind, block.first, block.count) for block in blocks]


@pytest.mark.parametrize(
    ("words", "changes", "result"),
    [
        ([2304], {"scale": 0.1}, 230.4),
        ([0xFFCE], {"type": "i16", "scale": 0.1}, -5.0),
        ([0xFFCE], {"type": "u16"}, 65486.0),
        ([1, 2], {"type": "u32"}, 65538.0),
        ([2, 1], {"type": "u32", "word_order": "little"}, 65538.0),
        ([0xFFFF, 0xFFFE], {"type": "i32"}, -2.0),
        ([0, 0, 1, 0], {"type": "u64"}, 65536.0),
        ([0, 1, 0, 0], {"type": "u64", "word_order": "little"}, 65536.0),
        ([0xFFFF] * 4, {"type": "i64"}, -1.0),
        ([0x41AA, 0x6666], {"type": "f32"}, 21.3),
        ([0x6666, 0x41AA], {"type": "f32", "word_order": "little"}, 21.3),
        ([0x4035, 0x4CCC, 0xCCCC, 0xCCCD], {"type": "f64"}, 21.3),
        ([0b0100], {"type": "bit", "bit": 2, "unit": "1"}, 1.0),
        ([0b1011], {"type": "bit", "bit": 2, "unit": "1"}, 0.0),
        ([0b0100], {"type": "bit", "bit": 2, "unit": "bool"}, True),
        ([1], {"kind": "coil", "type": "bool", "unit": "bool"}, True),
        ([0], {"kind": "discrete", "type": "bool", "unit": "1"}, 0.0),
        ([250], {"scale": 0.1, "offset": -40.0}, -15.0),
        ([725], {"scale": 0.1, "from_unit": "degF", "unit": "Cel"}, 22.5),
        ([0xFFFF], {"scale": 1e-3, "from_unit": "kPa", "unit": "hPa"}, 655.35),
        ([0x7FC0, 0], {"type": "f32"}, None),
        ([0xFFC0, 0], {"type": "f32"}, None),
        ([0x7F80, 0], {"type": "f32"}, None),
        ([0x8000], {"type": "i16", "invalid": (0x8000, 0xFFFF)}, None),
        ([0xFFFF], {"type": "i16", "invalid": (0x8000, 0xFFFF)}, None),
        ([0x8001], {"type": "i16", "invalid": (0x8000, 0xFFFF)}, -32767.0),
        ([0x0000, 0x8000], {"type": "i32", "word_order": "little", "invalid": (2**31,)}, None),
    ],
)
def test_words_become_results(words: list[int], changes: dict[str, object], result: object) -> None:
    found = result_of(register(**changes), words)
    assert found == result
    assert type(found) is type(result)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_decimal_of_a_32_bit_number_is_that_number(number: float) -> None:
    words = struct.unpack(">2H", struct.pack(">f", number))
    result = result_of(register(type="f32"), words)
    assert result is not None
    assert struct.unpack(">f", struct.pack(">f", result)) == (number,)
    assert len(repr(result)) <= len(repr(number))


@given(
    st.sampled_from(["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]),
    st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4),
)
def test_no_words_are_too_strange(kind: str, words: list[int]) -> None:
    wanted = register(type=kind)
    result = result_of(wanted, words[: wanted.words])
    assert result is None or math.isfinite(result)


def test_neighbours_are_read_together_and_what_is_far_is_not() -> None:
    blocks = plan(
        [register(20), register(0), register(3, type="u32"), register(5, kind="input")],
        first_address=0,
        largest_gap=8,
    )
    assert spans(blocks) == [("holding", 0, 5), ("holding", 20, 1), ("input", 5, 1)]
    assert [str(block) for block in blocks] == ["holding 0-4", "holding 20", "input 5"]
    assert dict(zip("abc", blocks[0].registers, strict=False)) == {
        "a": register(0),
        "b": register(3, type="u32"),
    }


def test_a_table_that_counts_from_one_asks_for_one_less() -> None:
    blocks = plan([register(1), register(3)], first_address=1, largest_gap=8)
    assert spans(blocks) == [("holding", 0, 3)]
    assert [result for _, result in results(blocks[0], [7, 8, 9])] == [7.0, 9.0]
    assert spans(blocks[0].apart()) == [("holding", 0, 1), ("holding", 2, 1)]


def test_a_long_register_that_holds_a_shorter_one_is_read_once() -> None:
    blocks = plan(
        [register(10, type="u64"), register(11), register(14)], first_address=0, largest_gap=0
    )
    assert spans(blocks) == [("holding", 10, 5)]
    assert [result for _, result in results(blocks[0], [0, 0, 0, 5, 6])] == [5.0, 0.0, 6.0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["holding", "input", "coil", "discrete"]),
            st.integers(0, 5000),
            st.sampled_from(["u16", "u32", "u64"]),
        ),
        min_size=1,
    ),
    st.integers(0, 120),
)
def test_every_register_is_asked_for_exactly_once_and_no_request_is_too_long(
    table: list[tuple[str, int, str]], largest_gap: int
) -> None:
    wanted = [
        register(
            address,
            kind=kind,
            type="bool" if kind in ("coil", "discrete") else type_,
            name=f"n{at}",
        )
        for at, (kind, address, type_) in enumerate(table)
    ]
    blocks = plan(wanted, first_address=0, largest_gap=largest_gap)
    asked = [each.name for block in blocks for each in block.registers]
    assert sorted(asked) == sorted(each.name for each in wanted)
    for block in blocks:
        most = MOST_BITS if block.kind in ("coil", "discrete") else MOST_REGISTERS
        assert 1 <= block.count <= most
        places = range(block.first, block.first + block.count)
        for each in block.registers:
            assert {each.address, each.address + each.words - 1} <= set(places)
        assert {places[0], places[-1]} <= {
            place
            for each in block.registers
            for place in (each.address, each.address + each.words - 1)
        }


@given(st.lists(st.integers(0, 200), min_size=1, unique=True))
def test_each_result_comes_from_its_own_word(addresses: list[int]) -> None:
    for block in plan([register(each) for each in addresses], first_address=0, largest_gap=3):
        words = range(block.first, block.first + block.count)
        for each, result in results(block, words):
            assert result == each.address


@pytest.mark.parametrize(
    ("changes", "first_address", "is_beyond"),
    [
        ({"address": 65535}, 0, False),
        ({"address": 65535, "type": "u32"}, 0, True),
        ({"address": 65536}, 0, True),
        ({"address": 65536}, 1, False),
        ({"address": 0}, 1, True),
    ],
)
def test_there_are_65536_registers(
    changes: dict[str, object], first_address: int, *, is_beyond: bool
) -> None:
    assert beyond(register(**changes), first_address) is is_beyond


@pytest.mark.parametrize(
    ("changes", "key", "allowed"),
    [
        ({"kind": "coil"}, "type", 'must be "bool" where the kind is "coil"'),
        ({"type": "bool"}, "type", "not"),
        ({"type": "bit"}, "bit", "must be given"),
        ({"bit": 3}, "bit", "only then"),
        ({"type": "bit", "bit": 16}, "bit", "0 to 15"),
        ({"scale": 0.0}, "scale", "other than 0"),
        ({"from_unit": "degF"}, "from_unit", "does not become V"),
        ({"from_unit": "fahrenheit"}, "from_unit", "is not a unit that can be converted"),
        ({"scale": math.inf}, "scale", "other than 0"),
    ],
)
def test_contradictions_are_named(changes: dict[str, object], key: str, allowed: str) -> None:
    ((path, text),) = register(**changes).contradictions()
    assert path == (key,)
    assert allowed in text
