"""One settings file with mistakes of every kind: each is named at its line, with what may stand."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line.__main__ import main
from edge_agent.settings import mistakes_in

# What is wrong stands behind its line: key | value as shown | what is allowed.
BROKEN = """
tenant = "Camden Council"       #! tenant | "Camden Council" | text of the form [a-z0-9]
device = 7                      #! device | 7 | , in quotation marks
state_directory = "state"
polling = true                  #! polling | true | is not a setting
[broker]                        #! broker.port | | is missing: a whole number from 1 to 65535
host = "broker.example.org"
prot = 8884                     #! broker.prot | 8884 | is not a setting; did you mean port?
mqtt_version = "3.1"            #! broker.mqtt_version | "3.1" | one of "5", "3.1.1"
ca_file = ["region-root.pem"]   #! broker.ca_file | ["region-root.pem"] | the path of a file
certificate_file = "gateway.pem"
key_file = "gateway.key"
[trust]                         #! trust.council_root_file | | is missing: the path of a file
[enrolment]
url = "http://example.org/est"  #! enrolment.url | "http://example.org/est" | https://
[signer]
module = "no-library.so"        #! signer.module | "no-library.so" | nothing is at
label = "gateway"
pin_file = "pin"
[spool]
quota_bytes = "256M"            #! spool.quota_bytes | "256M" | a whole number of at least 65536
commit_readings = "50"          #! spool.commit_readings | "50" | 10000, without quotation marks
commit_seconds = 61             #! spool.commit_seconds | 61 | a number from 0.0 to 60.0
[[local_broker]]
name = "zigbee"
[[local_broker]]
name = "zigbee"                 #! local_broker[2].name | "zigbee" | stands twice as the name of
port = 0                        #! local_broker[2].port | 0 | a whole number from 1 to 65535
[[thing]]
urn = "urn:dev:example:lamp-17"
name = "Lamp 17"
description = "A lamp post."
longitude = -181                #! thing[1].longitude | -181 | a number from -180 to 180
latitude = "51.5"               #! thing[1].latitude | "51.5" | a number from -90 to 90
place_name = "Judd Street"
properties = { height = 5 }     #! thing[1].properties.height | 5 | text
[[thing]]
urn = "urn:dev:example:lamp-17" #! thing[2].urn | "urn:dev:example:lamp-17" | stands twice
name = "Lamp 18"
description = "Its neighbour."
longitude = 0
latitude = 51.5
place_name = "Judd Street"
[[sensor]]
adapter = "modbuss"             #! sensor[1].adapter | "modbuss" | did you mean "modbus"?
urn = "urn:dev:example:meter"
[[sensor]]
adapter = "SDS011"              #! sensor[2].adapter | "SDS011" | did you mean "sds011"?
urn = "urn:dev:example:dust"
[[sensor]]                      #! sensor[3].adapter | | is missing: must be one of "host"
urn = "urn:dev:example:nothing"
[[sensor]]
adapter = "host"
urn = "urn:dev:example:computer"
thing = "urn:dev:example:lamp-71" #! sensor[4].thing | "urn:dev:example:lamp-71" | lamp-17?
name = "Computer"
description = "A computer."
interval_seconds = 0            #! sensor[4].interval_seconds | 0 | a number from 0.1 to 3600.0
[[sensor]]
adapter = "mqtt_json"
urn = "urn:dev:example:computer" #! sensor[5].urn | "urn:dev:example:computer" | stands twice
thing = "urn:dev:example:lamp-17"
name = "Climate"
description = "A climate sensor."
local_broker = "zigbees"        #! sensor[5].local_broker | "zigbees" | did you mean zigbee?
topic = "zigbee2mqtt/climate"
[sensor.fields.temperature]
path = "temperature"
name = "temperature"
title = "Temperature"
description = "Air temperature."
observed_property = "air_temperature"
unit = "degrees"                #! sensor[5].fields.temperature.unit | "degrees" | nearest: deg
[[sensor]]
adapter = "http_push"
urn = "urn:dev:example:station"
thing = "urn:dev:example:lamp-17"
name = "Station"
description = "A weather station."
push_path = "/station"          #! sensor[6].push_path | "/station" | needs a [listener]
[sensor.fields.temperature]
path = "temperature"
name = "temperature"
title = "Temperature"
description = "Air temperature."
observed_property = "air_temperature"
unit = "Cel"
"""


@dataclass(frozen=True)
class Expected:
    line: int
    key: str
    value: str
    allowed: str


def expected() -> list[Expected]:
    found = []
    for number, line in enumerate(BROKEN.splitlines(), 1):
        if "#!" in line:
            key, value, allowed = (part.strip() for part in line.split("#!")[1].split("|"))
            found.append(Expected(number, key, value, allowed))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(BROKEN)
    return file


def test_every_mistake_is_named_once_and_nothing_else(file: Path) -> None:
    told = [(mistake.line, mistake.key) for mistake in mistakes_in(file)]
    assert told == [(each.line, each.key) for each in expected()]


@pytest.mark.parametrize("each", expected(), ids=lambda each: each.key)
def test_a_mistake_is_told_with_its_value_and_what_is_allowed(each: Expected, file: Path) -> None:
    [told] = [mistake for mistake in mistakes_in(file) if mistake.key == each.key]
    assert told.value == each.value
    assert each.allowed in told.allowed
    given = f" = {each.value}" if each.value else ""
    assert str(told).startswith(f"{file}:{each.line}: {each.key}{given}: ")


def test_scripts_get_fields(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "check-config", str(file), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert [(row["line"], row["key"], row["value"]) for row in told["mistakes"]] == [
        (each.line, each.key, each.value) for each in expected()
    ]
    assert {tuple(row) for row in told["mistakes"]} == {("file", "line", "key", "value", "allowed")}


@pytest.mark.parametrize(
    ("content", "line", "allowed"),
    [
        (b'tenant = "camden\n', 1, "is not TOML"),
        (b'tenant = "camden"\ntenant = "leeds"\n', 2, "is not TOML: Cannot overwrite a value"),
        (b"[trust]\n[broker]\nport = 1\n[trust]\n", 4, "is not TOML: Cannot declare"),
        (b'tenant = "camden"\nport = 08\n', 2, "is not TOML"),
        (b'tenant = "caf\xe9"\n', 1, "is not UTF-8 text"),
        (None, 1, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_at_its_line(
    content: bytes | None,
    line: int,
    allowed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "agent.toml"
    if content is not None:
        file.write_bytes(content)
    assert main(["agent", "check-config", str(file)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}:{line}: {allowed}")
