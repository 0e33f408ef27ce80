from pathlib import Path

import pytest

from broker_config.network import Council, NetworkError, load
from broker_config.nodes import Node
from command_line.network.directory import (
    DEFAULT_DIRECTORY,
    VARIABLE,
    Description,
    NetworkDirectory,
    NetworkDirectoryError,
    default_directory,
    read_description,
    write_description,
)

CAMDEN = Council(tenant="camden", gss="E09000007", name="Camden", port=8884)


def described(**changed: object) -> Description:
    values = {
        "name": 'Test "shire"',
        "host": "broker.example.org",
        "bind": "::",
        "service_port": 8883,
        "keeper_port": 8882,
    }
    return Description(**(values | changed))  # type: ignore[arg-type]


NODES = tuple(
    Node(name=f"n{number}", host=f"n{number}.example.org", mqtt_port=8883, native_port=4222)
    for number in (1, 2, 3)
)


@pytest.mark.parametrize("councils", [(), (CAMDEN,)])
@pytest.mark.parametrize("cluster", [{}, {"nodes": NODES, "council_store_bytes": 1 << 21}])
def test_what_is_written_is_read_back(
    tmp_path: Path, councils: tuple[Council, ...], cluster: dict[str, object]
) -> None:
    directory = NetworkDirectory(tmp_path)
    write_description(directory, described(councils=councils, **cluster))
    assert read_description(directory) == described(councils=councils, **cluster)


def test_with_a_council_it_is_a_brokers_description_with_ingest(tmp_path: Path) -> None:
    directory = NetworkDirectory(tmp_path)
    write_description(directory, described().with_council(CAMDEN))
    network = load(directory.network_file)
    assert network.councils == (CAMDEN,)
    assert [(each.name, each.tenants) for each in network.services] == [("ingest", ("camden",))]


def test_without_a_council_it_is_checked_all_the_same() -> None:
    for wrong, named in (
        ({"host": "no host"}, "no host"),
        ({"service_port": 70_000}, "70000"),
        ({"keeper_port": 8883}, "8883"),
        ({"name": ""}, "name"),
    ):
        with pytest.raises(NetworkError, match=named):
            described(**wrong)


def test_a_council_takes_the_place_of_its_namesake_alone() -> None:
    renamed = Council(tenant="camden", gss="E09000007", name="London Camden", port=8884)
    assert described().with_council(CAMDEN).with_council(renamed).councils == (renamed,)
    with pytest.raises(NetworkError, match="8884"):
        described(councils=(CAMDEN,)).with_council(
            Council(tenant="leeds", gss="E08000035", name="Leeds", port=8884)
        )


def test_a_network_without_council_says_how_to_get_one() -> None:
    with pytest.raises(NetworkDirectoryError, match="council add"):
        described().network()


@pytest.mark.parametrize("text", ["name = ", 'name = "x"\n', "[[council]]\n"])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    directory = NetworkDirectory(tmp_path)
    directory.network_file.write_text(text)
    with pytest.raises(NetworkError, match=r"network\.toml"):
        read_description(directory)


def test_an_empty_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    directory = NetworkDirectory(tmp_path)
    for look in (directory.dsn, directory.check, lambda: read_description(directory)):
        with pytest.raises(NetworkDirectoryError, match="kerbstone network init"):
            look()


def test_the_directory_is_the_variables_or_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert default_directory() == DEFAULT_DIRECTORY
    monkeypatch.setenv(VARIABLE, "/srv/network")
    assert default_directory() == Path("/srv/network")
