"""The recorded frames of particulate sensors, and what they were decoded to."""

import csv
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "data/particulate_serial"


def hexdump(name: str) -> bytes:
    """Return the bytes of a hexdump: an offset, the bytes and, after two spaces, their text."""
    lines = (_FOLDER / f"{name}.hexdump").read_text().splitlines()
    return b"".join(bytes.fromhex(line.split(": ")[1].split("  ")[0]) for line in lines)


def rows(name: str) -> list[dict[str, float]]:
    with (_FOLDER / f"{name}.csv").open(newline="") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        return [{key: float(cell) for key, cell in row.items()} for row in table]


def texts(name: str) -> list[str]:
    """Return what was printed of each frame, without the time before it."""
    lines = (_FOLDER / f"{name}.txt").read_text().splitlines()
    return [line.split(": ", 1)[1] for line in lines]
