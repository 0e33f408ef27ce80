"""Filling templates: the environment, and addresses of static files that follow their content."""

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    Undefined,
    UndefinedError,
    select_autoescape,
)

from api.settings import OperatorSettings
from dashboard import STATIC, TEMPLATES

_FINGERPRINT_DIGITS: Final = 12


class _StrictForOwn(Undefined):
    """Lenient where a component looks for an option, strict where a value of ours is misspelt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner = self._undefined_obj
        if hasattr(owner, "__dataclass_fields__"):
            raise UndefinedError(f"{type(owner).__name__} has no {self._undefined_name!r}")


@cache
def fingerprint() -> str:
    """Return a name for the static files as they are, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(STATIC)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:_FINGERPRINT_DIGITS]


def static_url(path: str) -> str:
    """Return where the static file `path`, relative to dashboard/static, is served.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not (STATIC / Path(path)).is_file():
        raise FileNotFoundError(path)
    return f"/static/{fingerprint()}/{path}"


def environment(operator: OperatorSettings) -> Environment:
    """Return the environment in which every page is made."""
    made = Environment(
        loader=ChoiceLoader(
            [
                FileSystemLoader(TEMPLATES),
                PrefixLoader({"govuk_frontend_jinja": PackageLoader("govuk_frontend_jinja")}),
            ]
        ),
        autoescape=select_autoescape(default=True),
        undefined=_StrictForOwn,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["static"] = static_url
    made.globals["operator"] = operator
    return made


async def page(
    pages: Environment,
    template: str,
    context: Mapping[str, Any],
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Return a filled template; it is never cached, because it shows how things are now.

    It is filled in a thread: a page of thousands of rows must not hold up the live streams.
    """
    body = await asyncio.to_thread(pages.get_template(template).render, **context)
    return HTMLResponse(body, status_code, {"Cache-Control": "no-store", **(headers or {})})
