"""Which release this is. Written here because reading a package's metadata costs megabytes.

A test holds it against pyproject.toml.
"""

from typing import Final

VERSION: Final = "0.1.0"
