"""Where the service is found: the address that its readers know, which stands in what they get."""

from functools import lru_cache

from starlette.requests import Request

from api.headers import header


def root_of(request: Request) -> str:
    """Return the URL of the service as its readers know it, without a slash at its end."""
    base: str | None = getattr(request.app.state, "base_url", None)
    if base:
        return base.rstrip("/")
    scope = request.scope
    host = header(scope["headers"], b"host")
    return _asked_at(scope["scheme"], host, scope["server"], scope.get("root_path", ""))


@lru_cache(maxsize=64)  # the names of one service are few, and taking a URL apart takes long
def _asked_at(scheme: str, host: str, server: tuple[str, int] | None, root_path: str) -> str:
    """Return the URL of the application that a request says."""
    scope = {"type": "http", "scheme": scheme, "server": server, "root_path": root_path}
    headers = [(b"host", host.encode("latin-1"))] if host else []
    return str(Request({**scope, "path": "/", "headers": headers}).base_url).rstrip("/")
