"""The pages' templates, static files and map data. What fills them lives in `api`."""

from pathlib import Path
from typing import Final

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"
BOUNDARIES: Final = Path(__file__).parent / "data" / "council_boundaries.geojson"
