"""The sheet that goes out with gateways: one card for each invitation, with its one-time token.

Pure but for reading its template and style sheet. The same page is served after inviting, where
it links to the style sheet, and written to a file by the command line, where it carries it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

import segno
from jinja2 import Environment
from markupsafe import Markup

from api.pages.templating import environment, static_url
from api.pages.times import time_text
from api.settings import OperatorSettings
from dashboard import STATIC
from device_protocol.first_boot import FirstBoot

STYLESHEET: Final = "sheet.css"

_ERROR_LEVEL: Final = "m"  # 15 % of a code may be smudged
_QUIET_MODULES: Final = 4  # ISO/IEC 18004, section 5.3.8
_DIGEST_GROUP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetItem:
    """One invitation as its card shows it. site, label, place_name: as the council gave them."""

    first_boot: FirstBoot
    council: str
    site: str
    expires_at: datetime
    label: str = ""
    place_name: str = ""

    @property
    def name(self) -> str:
        """What a person calls the gateway."""
        return self.label or self.site or self.first_boot.device

    @property
    def expiry(self) -> str:
        """Until when the token can be used."""
        return time_text(self.expires_at.replace(second=0, microsecond=0))

    @property
    def root_groups(self) -> list[str]:
        """The region root's SHA-256 in groups that can be typed."""
        text = self.first_boot.region_root_sha256.hex()
        return [text[at : at + _DIGEST_GROUP] for at in range(0, len(text), _DIGEST_GROUP)]

    @property
    def qr_code(self) -> Markup:
        """The invitation as a QR code: SVG with nothing that a strict policy forbids."""
        code = segno.make_qr(self.first_boot.to_uri(), error=_ERROR_LEVEL)
        svg = code.svg_inline(
            border=_QUIET_MODULES,
            omitsize=True,
            svgclass=None,
            lineclass=None,
            draw_transparent=False,
        )
        return Markup(svg)  # noqa: S704  # made by segno of black squares; the text is not in it


def render_sheet(network: str, items: Sequence[SheetItem], *, embed_style: bool = False) -> str:
    """Return a printable HTML page with a card for each item, four to a sheet of A4.

    network: its name, for the heading. embed_style: carry the style sheet in the page, so that a
    file needs nothing beside it; a page that is served must not, because the policy in
    `api.layers.security` forbids styles in pages.
    """
    style = (
        Markup("<style>\n{}</style>").format(_style())
        if embed_style
        else Markup('<link rel="stylesheet" href="{}">').format(static_url(STYLESHEET))
    )
    template = _pages().get_template("invitation_sheet.html")
    return template.render(network=network, items=items, style=style)


def _style() -> Markup:
    return Markup((STATIC / STYLESHEET).read_text(encoding="utf-8"))  # noqa: S704  # our own file


@cache
def _pages() -> Environment:
    return environment(OperatorSettings())
