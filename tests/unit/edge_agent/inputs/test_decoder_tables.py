"""A bad table is refused with its line, the key, the value and what is allowed."""

from pathlib import Path

import pytest

from device_protocol.unit_table import property_keys, unit_symbols
from edge_agent.inputs.payload import TABLES, decoder_names, load_decoder
from runtime.settings import SettingsError

GOOD = """\
maker = "Example"
model = "E1"
document = "https://example.org/e1"

[[datastream]]
name = "depth"
title = "Depth"
description = "How deep it is."
observed_property = "water_level"
unit = "m"

[[datastream]]
name = "wet"
title = "Wet"
description = "Whether it is wet."
observed_property = "tilted"
unit = "bool"

[[message]]
f_port = [2]
length = 3
field = [
    { name = "depth", type = "u16", divisor = 1000 },
    { name = "wet", type = "u8", bits = [0, 0] },
]

[[message]]
f_port = [3]
tag_bytes = 1

[[message.type]]
tag = "0A"
length = 2
field = [{ name = "depth", type = "u16" }]

[[message.type]]
tag = "0B"

[[message]]
f_port = [4]
flags_at = 1

[[message.block]]
bit = 0
length = 2
field = [{ name = "depth", type = "u16" }]

[[message.block]]
bit = 3
length = 1
"""


def load(tmp_path: Path, text: str) -> str:
    """Return what is said against a table, without the name of its file."""
    path = tmp_path / "own.toml"
    path.write_text(text)
    try:
        load_decoder(path)
    except SettingsError as error:
        return str(error).replace(f"{path}:", "")
    return ""


def test_a_good_table_is_taken(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == ""


MISTAKES = [
    (
        'type = "u16", divisor',
        'type = "u61", divisor',
        '23: message[1].field[1].type = "u61": must be one of',
    ),
    ("divisor = 1000", "divisor = 0", "23: message[1].field[1].divisor = 0: must not be 0"),
    (
        "divisor = 1000",
        "devisor = 1000",
        "23: message[1].field[1].devisor = 1000: is not a setting; did you mean divisor?",
    ),
    ("divisor = 1000", "at = 2", "23: message[1].field[1].at = 2: ends at byte 4, of 3 there are"),
    (
        "bits = [0, 0]",
        "bits = [0, 8]",
        "24: message[1].field[2].bits: must be [first, last], within the bits of u8",
    ),
    ("bits = [0, 0]", "bits = [3, 1]", "24: message[1].field[2].bits: must be [first, last]"),
    ("bits = [0, 0]", "bits = [1]", "24: message[1].field[2].bits: must be [first, last]"),
    ("bits = [0, 0]", "time = true", '24: message[1].field[2].type = "u8": must be u32 for a time'),
    (
        "bits = [0, 0]",
        "values = { x = 1 }",
        "24: message[1].field[2].values.x = 1: must be a whole number in quotes",
    ),
    (
        "bits = [0, 0]",
        'values = { "1" = 7 }',
        '17: datastream[2].unit = "bool": must be fit for its values',
    ),
    ("divisor = 1000", 'values = { "1" = true }', '10: datastream[1].unit = "m": must be "bool"'),
    ("divisor = 1000", 'values = { "1" = "x" }', '10: datastream[1].unit = "m"'),
    (
        "divisor = 1000",
        "length = 2",
        "23: message[1].field[1].length = 2: must be given for a dotted text",
    ),
    (
        "divisor = 1000",
        "pieces = [{ below = 5, scale = 1 }, { below = 4, scale = 1 }]",
        "23: message[1].field[1].pieces: must have bounds that rise",
    ),
    (
        "divisor = 1000",
        'pieces = [{ below = 5, scale = 1 }], values = { "9" = 1 }',
        "23: message[1].field[1].pieces: must not stand beside values",
    ),
    (
        'type = "u16", divisor',
        'type = "f32", absent = [7], divisor',
        '23: message[1].field[1].type = "f32": must be a whole number to have',
    ),
    (
        'name = "depth"\ntitle',
        'name = "level"\ntitle',
        '6: datastream[1].name = "level": must be the name of a field of a message',
    ),
    (
        'name = "wet"\ntitle',
        'name = "depth"\ntitle',
        '13: datastream[2].name = "depth": stands twice',
    ),
    ("f_port = [2]", "f_port = [0]", "20: message[1].f_port"),
    ("length = 3\n", "", "19: message[1].length: must have exactly one of length, type and block"),
    ("tag_bytes = 1\n", "", "must be given where there are types, and only there"),
    ('tag = "0A"', 'tag = "0A0B"', '32: message[2].type[1].tag = "0A0B": must be 1 bytes in hex'),
    ('tag = "0B"', 'tag = "0a"', '37: message[2].type[2].tag = "0a": stands twice'),
    ('tag = "0B"', 'tag = "xy"', '37: message[2].type[2].tag = "xy": must be text of the form'),
    (
        'tag = "0A"\nlength = 2',
        'tag = "0A"',
        "message[2].type[1].length: must be given where there are fields",
    ),
    (
        'tag = "0A"\nlength = 2',
        'tag = "0A"\nlength = 1',
        "message[2].type[1].field[1].at: ends at byte 2, of 1 there are",
    ),
    ("flags_at = 1\n", "", "must be given where there are blocks, and only there"),
    ("bit = 3", "bit = 0", "message[3].block: must have bits that rise"),
    ("bit = 3", "bit = 16", "bit = 16: must be a whole number from 0 to 15"),
    ('unit = "m"', 'unit = "ft"', '10: datastream[1].unit = "ft": is no unit'),
    ('unit = "m"\n', "", "datastream[1].unit: is missing"),
]


@pytest.mark.parametrize(("good", "bad", "said"), MISTAKES)
def test_a_mistake_is_named_with_line_key_and_value(
    tmp_path: Path, good: str, bad: str, said: str
) -> None:
    assert good in GOOD
    assert said in load(tmp_path, GOOD.replace(good, bad, 1))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    bad = GOOD.replace("bit = 3", "bit = 16").replace('tag = "0B"', 'tag = "xy"')
    assert len(load(tmp_path, bad).splitlines()) == 2


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml:1: cannot be read"):
        load_decoder(tmp_path / "none.toml")


@pytest.mark.parametrize("name", decoder_names())
def test_the_tables_that_come_with_the_agent_speak_of_known_units_and_properties(name: str) -> None:
    table = load_decoder(Path(name)).table
    assert {one.unit for one in table.datastream} <= unit_symbols().keys()
    assert {one.observed_property for one in table.datastream} <= property_keys()
    assert any(not one.optional for one in table.datastream)
    assert name.startswith(table.maker.lower())
    assert table.document.startswith("https://")


def test_a_table_is_read_once_however_many_devices_use_it() -> None:
    assert load_decoder(Path("milesight-ws302")) is load_decoder(Path("milesight-ws302"))
    assert (TABLES / "milesight-ws302.toml").is_file()


def test_a_table_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    assert load_decoder(path).table.model == "E1"
    path.write_text(GOOD.replace('"E1"', '"E1-b"'))
    assert load_decoder(path).table.model == "E1-b"
