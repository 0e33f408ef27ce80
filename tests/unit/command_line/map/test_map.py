"""`kerbstone map`: a pack becomes any of the standards; what is refused is named."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csvw import CSVW

from command_line.__main__ import main
from command_line.map import decode
from command_line.map.outputs import WRITERS
from command_line.map.registry_file import EXAMPLE
from device_protocol.senml import decode_json, encode_cbor
from tests.unit.command_line.map.readings import readings_of

HERE = Path(__file__).parent
PACK = HERE / "pack.json"
GOLDEN = HERE / "golden"

Map = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Map:
    def mapped(*words: object, pack: Path = PACK, registry: Path = EXAMPLE) -> tuple[int, str, str]:
        status = main(["map", str(pack), "--registry", str(registry), *map(str, words)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return mapped


def written(tmp_path: Path, *records: dict[str, Any]) -> Path:
    pack = tmp_path / "pack.json"
    base = {"bn": "urn:dev:mac:0024befffe804ff2:", "bt": 1751371200}
    pack.write_text(json.dumps([{**base, **records[0]}, *records[1:]]), encoding="utf-8")
    return pack


TEMPERATURE = {"n": "temp", "u": "Cel", "v": 21.4}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pack.csv", ["--to", "csv"]),
        ("ngsi-ld.json", ["--to", "ngsi-ld", "--form", "concise"]),
    ],
)
def test_what_is_written_is_as_it_was_checked_by_hand(
    run: Map, name: str, words: list[str]
) -> None:
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    assert out.splitlines() == (GOLDEN / name).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("standard", WRITERS)
def test_cbor_and_json_and_standard_input_are_one_pack(
    run: Map, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, standard: str
) -> None:
    expected = run("--to", standard)
    cbor = tmp_path / "pack"
    cbor.write_bytes(encode_cbor(readings_of(decode_json(PACK.read_bytes()))))
    assert run("--to", standard, pack=cbor) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cbor.read_bytes())))
    assert run("--to", standard, pack=Path("-")) == expected


def test_sensorthings_has_all_of_it_linked_to_the_service(run: Map) -> None:
    (thing,) = json.loads(run("--to", "sensorthings", "--base-url", "https://a.example/")[1])[
        "value"
    ]
    assert thing["@iot.selfLink"] == "https://a.example/sensorthings/v1.1/Things(1)"
    (place,) = thing["Locations"]
    assert place["location"]["coordinates"] == pytest.approx([-0.12878, 51.52801], abs=1e-5)
    streams = thing["Datastreams"]
    assert [each["ObservedProperty"]["properties"]["key"] for each in streams] == [
        "no2",
        "air_temperature",
        "relative_humidity",
        "wind_direction",
    ]
    newest, hour_before = streams[0]["Observations"]
    assert newest["phenomenonTime"] == "2025-07-01T11:00:00Z/2025-07-01T12:00:00Z"
    assert (newest["result"], hour_before["result"]) == (46.2, 41.0)
    assert newest["FeatureOfInterest"]["feature"] == place["location"]
    assert streams[0]["phenomenonTime"] == "2025-07-01T10:00:00Z/2025-07-01T12:00:00Z"


def test_geojson_sosa_and_dcat_have_every_observation(run: Map) -> None:
    features = json.loads(run("--to", "geojson")[1])["features"]
    assert [each["properties"]["value"] for each in features] == [46.2, 41.0, 21.4, 45.5, 270.0]
    graph = json.loads(run("--to", "sosa")[1])["@graph"]
    collections = [each for each in graph if each["type"] == "ObservationCollection"]
    assert [len(each["hasMember"]) for each in collections] == [2, 1, 1, 1]
    datasets = json.dumps(json.loads(run("--to", "dcat")[1]))
    for key in ("no2", "air_temperature", "relative_humidity", "wind_direction"):
        assert f"https://kerbstone.example/catalogue/camden/{key}" in datasets


def test_a_table_in_a_file_has_its_metadata_beside_it(run: Map, tmp_path: Path) -> None:
    table = tmp_path / "readings.csv"
    assert run("--to", "csv", "--output", table) == (0, "", "")
    assert table.read_bytes().startswith(b"time,interval_start,")
    beside = json.loads((tmp_path / "readings.csv-metadata.json").read_text(encoding="utf-8"))
    assert beside["url"] == "readings.csv"
    assert beside["dc:title"] == "Observations, London Borough of Camden"
    whole = CSVW(str(tmp_path / "readings.csv-metadata.json"), validate=True)
    assert whole.is_valid, whole.warnings
    numbers = [
        value
        for row in whole.to_json(minimal=True)
        for name, value in row.items()
        if name.endswith("numericValue")
    ]
    assert numbers == [46.2, 41.0, 21.4, 45.5, 270.0]


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        ({"n": "tempp", "u": "Cel", "v": 1}, "unknown-datastream", "804ff2:temp"),
        ({"n": "rh", "u": "dB", "v": 1}, "unit-mismatch", "'dB'"),
        ({"n": "rh", "vb": True}, "unit-mismatch", "truth value"),
        ({"n": "rh", "vs": "wet"}, "unit-mismatch", "text"),
        ({"n": "rh", "vd": "AQ"}, "payload", "without a number"),
        ({"n": "temp", "u": "Cel", "v": 22}, "conflicting-result", "22.0 after 21.4"),
    ],
)
def test_a_refused_record_is_named_and_the_others_pass(
    run: Map, tmp_path: Path, record: dict[str, Any], reason: str, detail: str
) -> None:
    pack = written(tmp_path, TEMPERATURE, record, {"n": "wind_dir", "u": "deg", "v": 9})
    status, out, err = run("--to", "csv", pack=pack)
    named, counted = err.splitlines()
    start = f"kerbstone map: record 2, 'urn:dev:mac:0024befffe804ff2:{record['n']}': "
    assert named.startswith(start)
    assert reason in named
    assert detail in named
    assert (status, counted) == (1, "kerbstone map: 2 mapped, 1 refused")
    assert len(out.splitlines()) == 3
    assert run("--to", "csv", "--keep-going", pack=pack) == (0, out, err)


def test_nothing_mapped_is_a_failure_even_so(run: Map, tmp_path: Path) -> None:
    pack = written(tmp_path, {"n": "tempp", "u": "Cel", "v": 1})
    assert run("--to", "csv", "--keep-going", pack=pack)[0] == 1
    output = tmp_path / "x.csv"
    assert run("--to", "csv", "--output", output, pack=pack)[0] == 1
    assert (tmp_path / "x.csv-metadata.json").exists()


def test_a_result_out_of_range_is_refused_unless_its_gateway_says_so(
    run: Map, tmp_path: Path
) -> None:
    base = {"bn": "urn:dev:mac:0024befffe804ff1:", "n": "no2", "u": "ug/m3"}
    pack = written(tmp_path, {**base, "v": 1001}, {**base, "v": 1002, "t": 60, "kq": 1})
    status, out, err = run("--to", "csv", pack=pack)
    assert (status, len(out.splitlines())) == (1, 2)
    assert "record 1, " in err
    assert "out-of-range: 1001 ug/m3" in err
    entities = json.loads(run("--to", "ngsi-ld", pack=pack)[1])
    assert {each["type"] for each in entities} == {"Device"}


def test_what_is_said_twice_is_there_once(run: Map, tmp_path: Path) -> None:
    pack = written(tmp_path, TEMPERATURE, TEMPERATURE)
    status, out, err = run("--to", "csv", pack=pack)
    assert (status, err, len(out.splitlines())) == (0, "", 2)


@pytest.mark.parametrize("pack", [b"", b"[", b'{"n": "x"}', b"\x81\xa1", b"[1]"])
def test_what_is_no_pack_is_refused_whole(run: Map, tmp_path: Path, pack: bytes) -> None:
    file = tmp_path / "pack"
    file.write_bytes(pack)
    status, out, err = run("--to", "csv", pack=file)
    assert (status, out) == (1, "")
    assert err.startswith(f"kerbstone map: {file}: payload: ")


def test_blanks_before_json_do_not_make_it_cbor() -> None:
    assert decode(b"\n " + PACK.read_bytes()) == decode_json(PACK.read_bytes())


def test_misuse_is_said_with_its_remedy(
    run: Map, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map"]) == 2
    assert "no PACK, no --registry, no --to; --example" in capsys.readouterr().err
    gone = tmp_path / "gone"
    assert run("--to", "csv", pack=gone)[0] == 2
    assert run("--to", "csv", registry=gone)[0] == 2
    assert run("--to", "csv", "--output", tmp_path)[0] == 2


def test_the_example_is_a_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = tmp_path / "registry.toml"
    assert main(["map", "--example"]) == 0
    assert main(["map", "--example", "--output", str(registry)]) == 0
    assert registry.read_text(encoding="utf-8") == capsys.readouterr().out
    assert main(["map", str(PACK), "--registry", str(registry), "--to", "dcat"]) == 0
