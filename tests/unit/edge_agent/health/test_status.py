"""One screen says how a gateway fares, and never takes the past for the present."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.status import StateLock, Status, read_status, write_status
from edge_agent.settings import AgentSettings
from edge_agent.spool.store import Depth
from tests.unit.edge_agent.conftest import NOW


@pytest.fixture
def render(settings: AgentSettings) -> Callable[..., str]:
    def render(facts: Facts, **changes: Any) -> str:
        arguments: dict[str, Any] = {
            "depth": Depth(0, 12_288, None),
            "clock": 2,
            "dropped": 0,
            "spool_failing": None,
            "now": NOW,
        }
        running = changes.pop("running", True)
        write_status(settings, facts=facts, **(arguments | changes))
        return replace(read_status(settings), running=running, read_at=NOW + 5).render()

    return render


@pytest.fixture
def facts() -> Facts:
    return Facts(
        started_at=NOW - 86_400,
        connected=True,
        connection_since=NOW - 3600,
        last_acknowledgement_at=NOW - 30,
        certificate_not_after=int(NOW) + 3 * 86_400,
        key_set_version=4,
        adapters={"urn:dev:example:computer": AdapterFacts("host", running=True, readings=12)},
    )


def test_all_is_well(render: Callable[..., str], facts: Facts) -> None:
    assert render(facts) == (
        "Gateway k7q2m9xd4t: the agent runs\n"
        "  Connection   connected since 2030-03-17 16:46:40 UTC (60 minutes ago)\n"
        "  Acknowledged 2030-03-17 17:46:10 UTC (35 seconds ago)\n"
        "  Spool        empty\n"
        "  Certificate  ends 2030-03-20 17:46:40 UTC (in 2 days)\n"
        "  Key set      version 4\n"
        "  Clock        synchronised over the network\n"
        "  Sensor       urn:dev:example:computer (host): 12 readings\n"
    )


def test_what_became_of_readings_on_their_way_is_said(
    render: Callable[..., str], facts: Facts
) -> None:
    own = facts.adapters["urn:dev:example:computer"]
    own.refused, own.flagged, own.late, own.withheld = 1, 2, 3, 4
    said = "(host): 12 readings, 1 refused, 2 flagged, 3 late, 4 withheld"
    assert said in render(facts)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ((3, 0, 0), "version 3 from afar"),
        ((3, 4, 0), "version 3 from afar, version 4 REFUSED OR TAKEN BACK"),
        ((5, 4, 0), "version 5 from afar"),
        ((0, 0, 6), "version 6 on trial"),
    ],
)
def test_settings_from_afar_are_told(
    render: Callable[..., str], facts: Facts, versions: tuple[int, int, int], said: str
) -> None:
    facts.configuration, facts.configuration_refused, facts.configuration_on_trial = versions
    assert f"  Settings     {said}\n" in render(facts)


def test_devices_that_no_sensor_claims_are_named(render: Callable[..., str], facts: Facts) -> None:
    facts.unclaimed = {"70b3d5": 1, "a84041": 12}
    assert "  Unclaimed    a84041 (12 times), 70b3d5 (1 times)\n" in render(facts)
    facts.unclaimed |= {f"b{number}": 2 for number in range(8)}
    assert ", b3 (2 times) and 5 more\n" in render(facts)


def test_the_file_of_a_dead_agent_is_shown_as_the_past(
    render: Callable[..., str], facts: Facts
) -> None:
    text = render(facts, running=False)
    assert "the agent DOES NOT RUN" in text
    assert "Last heard from 5 seconds ago; what follows is of then." in text


def test_a_sensor_that_answers_in_vain_or_no_longer_fails_is_said(
    render: Callable[..., str], facts: Facts
) -> None:
    facts.adapters = {
        "urn:a": AdapterFacts("mqtt_json", running=True),
        "urn:b": AdapterFacts(
            "lorawan", holds=True, failures=3, since=NOW - 60, last_error="refused"
        ),
    }
    text = render(facts)
    assert "urn:a (mqtt_json): answers, BUT NO READING COMES OF IT" in text
    assert "urn:b (lorawan): no longer fails, nothing since 2030-03-17 17:45:40 UTC" in text
    assert "FAILS" not in text


def test_everything_that_is_wrong_is_said(render: Callable[..., str], facts: Facts) -> None:
    facts.connected, facts.connection_error = False, "no route"
    facts.certificate_not_after = int(NOW) - 60
    facts.renewal_problem = "refused"
    facts.key_set_is_stale = facts.rolled_back = True
    facts.waiting_for = "no recipients"
    facts.adapters["urn:dev:example:computer"] = AdapterFacts(
        "host", failures=3, since=NOW - 60, last_error="unplugged"
    )
    depth = Depth(1200, 81_920, int(NOW) - 7200)
    text = render(facts, depth=depth, clock=0, dropped=55, spool_failing="disk full")
    for words in (
        "UTC (65 seconds ago): NEEDS A NEW INVITATION",
        "NOT RENEWED: refused",
        "NOT CONNECTED since 2030-03-17 16:46:40 UTC (60 minutes ago): no route",
        "1200 readings wait, the oldest taken 2 hours ago (80 KiB)",
        "CANNOT BE WRITTEN: disk full",
        "LOST: 55 readings dropped",
        "no recipients",
        "ENDED",
        "PAST ITS SOFT EXPIRY",
        "not synchronised",
        "ALARM",
        "FAILS since 2030-03-17 17:45:40 UTC (65 seconds ago): unplugged",
    ):
        assert words in text, words


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_no_status_is_told_as_none(settings: AgentSettings, content: bytes | None) -> None:
    if content is not None:
        settings.status_file.write_bytes(content)
    status = read_status(settings)
    assert status == Status(settings.device, False, None, status.read_at)  # noqa: FBT003
    assert "No agent has written its state here yet." in status.render()


def test_whether_the_agent_runs_is_told_by_its_lock(settings: AgentSettings) -> None:
    assert not read_status(settings).running
    with StateLock(settings.state_directory):
        assert read_status(settings).running
    assert not read_status(settings).running
