"""What goes out with an invitation: a sheet to print and first-boot files for memory cards.

They hold one-time tokens: mode 0600, and to be destroyed once spent. The sheet's look is
`api.administration.invitation_sheet`.
"""

import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Final

from api.administration.invitation_sheet import SheetItem, render_sheet
from command_line.network.directory import PRIVATE, NetworkDirectory, read_description
from command_line.network.gateways import Invited
from runtime.atomic_files import write_atomically

FIRST_BOOT_SUFFIX: Final = "-first-boot.toml"


def write_sheet(directory: NetworkDirectory, invited: Invited, council: str, file: Path) -> Path:
    """Write one HTML page with a card for each new token; return it.

    A sheet that is there keeps its cards, of which nobody could make a copy: the new one is
    numbered. council: its name, for the cards.
    """
    items = [
        SheetItem(
            first_boot=invited.first_boots[each.device],
            council=council,
            site=each.site.site,
            label=each.site.label,
            place_name=each.site.place_name,
            expires_at=each.expires_at,
        )
        for each in invited.invitations
        if each.token and each.expires_at is not None
    ]
    page = render_sheet(read_description(directory).name, items, embed_style=True)
    numbered = (file.with_stem(f"{file.stem}-{number}") for number in count(2))
    free = file if not file.exists() else next(each for each in numbered if not each.exists())
    write_atomically(free, page.encode(), PRIVATE)
    return free


def check_writable(directory: Path) -> None:
    """Make `directory`; return if files can be written to it.

    To be asked before inviting: a token that could not be handed on would have to be renewed.

    Raises:
        OSError: they cannot.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
        pass


def write_first_boot_files(invited: Invited, into: Path) -> Mapping[str, Path]:
    """Write `<device>-first-boot.toml` for each new token; return the files by device."""
    files = {}
    for device, first_boot in invited.first_boots.items():
        files[device] = into / f"{device}{FIRST_BOOT_SUFFIX}"
        write_atomically(files[device], first_boot.to_toml().encode(), PRIVATE)
    return files
