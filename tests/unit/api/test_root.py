"""Links begin where the service is known, or where the request says that it is."""

from starlette.applications import Starlette
from starlette.requests import Request

from api.root import root_of


def asked(host: str = "", *, scheme: str = "http", root_path: str = "", base_url: str = "") -> str:
    """Return the root for a request of an application known by `base_url`, if it is."""
    app = Starlette()
    if base_url:
        app.state.base_url = base_url
    headers = [(b"host", host.encode())] if host else []
    scope = {"type": "http", "app": app, "scheme": scheme, "server": ("127.0.0.1", 8080)}
    return root_of(Request({**scope, "path": "/x", "root_path": root_path, "headers": headers}))


def test_each_name_has_links_of_its_own_also_where_it_asks_again() -> None:
    for _ in range(2):
        assert asked("city.test") == "http://city.test"
        assert asked("city.test:81") == "http://city.test:81"
        assert asked("city.test", scheme="https") == "https://city.test"
        assert asked("city.test", root_path="/below") == "http://city.test/below"
        assert asked() == "http://127.0.0.1:8080"


def test_what_the_settings_say_stands_above_the_request() -> None:
    assert asked("elsewhere.test", base_url="https://data.city.test/") == "https://data.city.test"
