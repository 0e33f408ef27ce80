"""`kerbstone agent decode`: what a table of LoRaWAN payloads makes of one frame.

For whoever writes a table: the maker's document has examples, and here they can be tried.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.process import USAGE_ERROR
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from edge_agent.inputs.payload import Decoder, Value


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "table", type=Path, metavar="TABLE", help="name of a table, or a file of your own (.toml)"
    )
    parser.add_argument("port", type=int, metavar="PORT", help="the port the frame came by")
    parser.add_argument("frame", type=_frame, metavar="HEX", help="the payload in hex digits")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.epilog = (
        "Exit status: 0 decoded; 1 the table does not explain the frame; 2 misused, or a bad table."
    )


def _frame(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not hex digits, two a byte") from None


def run(arguments: argparse.Namespace) -> int:
    """Decode the frame and print what it says."""
    # Here, not above: most gateways have no LoRaWAN.
    from edge_agent.inputs.payload import (  # noqa: PLC0415
        FrameError,
        decoder_names,
        load_decoder,
    )

    names = decoder_names()
    if arguments.table.suffix != ".toml" and str(arguments.table) not in names:
        known = f"a file that ends in .toml, or one of {', '.join(names)}"
        print(f"kerbstone agent decode: {arguments.table}: must be {known}", file=sys.stderr)
        return USAGE_ERROR
    try:
        decoder = load_decoder(arguments.table)
        values = decoder.decode(arguments.port, arguments.frame)
    except SettingsError as error:
        print(f"kerbstone agent decode: {error}", file=sys.stderr)
        return USAGE_ERROR
    except FrameError as error:
        print(f"refused: {error.reason}: {error}", file=sys.stderr)
        return 1
    rows = [_row(decoder, value) for value in values]
    if arguments.json:
        print(json.dumps(rows))
    else:
        width = max((len(str(row["name"])) for row in rows), default=0)
        for row in rows:
            unit = row["unit"] if isinstance(row["result"], float) else None
            words = (row["result"], unit, f"at {row['time']}" if row["time"] else None)
            shown = " ".join(str(word) for word in words if word is not None)
            print(f"{row['name']:{width}}  {shown}")
    return 0


def _row(decoder: "Decoder", value: "Value") -> dict[str, object]:
    """Return a value with its unit, None where it is checked but never reported."""
    units = {one.name: one.unit for one in decoder.table.datastream}
    time = value.time.isoformat() if value.time else None
    return {
        "name": value.name,
        "result": value.result,
        "unit": units.get(value.name),
        "time": time,
    }
