"""Where the service is found: the address that its readers know, which stands in what they get."""

from starlette.requests import Request


def root_of(request: Request) -> str:
    """Return the URL of the service as its readers know it, without a slash at its end."""
    base: str | None = getattr(request.app.state, "base_url", None)
    return (base or str(request.base_url)).rstrip("/")
