"""Settings of what several sensors are read through: local brokers and the HTTP listener."""

from dataclasses import dataclass
from pathlib import Path

from runtime.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBrokerSettings:
    """An MQTT broker near the gateway that sensors publish to; never the council's."""

    name: str = setting("What sensors call it in `local_broker`.", pattern=r"[a-z0-9][a-z0-9-]*")
    host: str = setting("Its name or address.", default="127.0.0.1", pattern=r"\S+")
    port: int = setting("Its TCP port.", default=1883, minimum=1, maximum=65535)
    client_id: str = setting(
        "Name of this gateway there, under which the broker keeps messages while the agent is "
        "stopped; empty: kerbstone-<device>.",
        default="",
    )
    username: str = setting("User, if it asks for one.", default="")
    password_file: Path | None = setting("File that holds the password.", default=None)
    ca_file: Path | None = setting("Root certificate, PEM, if it speaks TLS.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where sensors push their readings to by HTTP."""

    host: str = setting("Address to listen on.", default="127.0.0.1")
    port: int = setting("TCP port; 0 in tests: any that is free.", minimum=0, maximum=65535)
    token_file: Path | None = setting(
        "File that holds a token which every request must carry (Authorization: Bearer); "
        "without one, anybody who reaches the port can push.",
        default=None,
    )
