import csv
from pathlib import Path

import pytest

import device_protocol
from device_protocol.tables import read_table

DATA = Path(device_protocol.__file__).parent / "data"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.csv")), ids=lambda path: path.stem)
def test_tables_are_read_as_the_standard_library_reads_them(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        assert read_table(path.stem) == list(csv.DictReader(file, strict=True))
