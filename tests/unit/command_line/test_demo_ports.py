import socket
from pathlib import Path

from command_line.demo.ports import choose


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = choose(file, dashboard=0, councils=3)
    again = choose(file, dashboard=first.dashboard, councils=3)
    assert again == first
    everything = (
        first.dashboard,
        first.enrolment,
        first.service,
        first.keeper,
        first.readers,
        *first.councils,
    )
    assert len(set(everything)) == 8


def test_a_port_that_was_taken_meanwhile_is_given_up_alone(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = choose(file, dashboard=0, councils=2)
    with socket.create_server(("127.0.0.1", first.service)):
        second = choose(file, dashboard=first.dashboard, councils=2)
    assert second.service != first.service
    assert (second.enrolment, second.councils) == (first.enrolment, first.councils)
    assert choose(file, dashboard=0, councils=2).service == second.service


def test_a_damaged_record_is_drawn_anew(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    file.write_text("{")
    assert choose(file, dashboard=0, councils=1).service > 0
