"""What `kerbstone test chaos` hands on to the part."""

import argparse

from command_line.testing import _CHAOS_SEED, _as_told, configure
from command_line.testing.parts import PARTS


def told(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(words)


def test_without_options_the_same_minute_runs_every_time() -> None:
    part = _as_told(PARTS["chaos"], told())
    assert part.steps[0].words == ("-m", "tests.chaos", "--seed", str(_CHAOS_SEED))
    assert part.needs == PARTS["chaos"].needs


def test_options_are_handed_on() -> None:
    words = ("--minutes", "10", "--seed", "0", "--workers", "4", "--broker", "nats")
    part = _as_told(PARTS["chaos"], told("chaos", *words))
    handed = dict(zip(part.steps[0].words[2::2], part.steps[0].words[3::2], strict=True))
    assert handed == {"--minutes": "10.0", "--seed": "0", "--workers": "4", "--broker": "nats"}


def test_an_edition_needs_its_server() -> None:
    part = _as_told(PARTS["chaos"], told("chaos", "--edition", "timescaledb"))
    assert part.needs == PARTS["chaos"].needs | {"embedded_timescaledb"}


def test_other_parts_stay_as_they_are() -> None:
    assert _as_told(PARTS["unit"], told("--seed", "3")) is PARTS["unit"]
