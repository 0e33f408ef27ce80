"""A short campaign of bent messages; `kerbstone verify fuzz --messages 1000000` is the long one.

The corpus begins with the envelope's vectors. Numbers are the same as in the long campaign of
the same seed, so whatever this finds can be found again by its number.
"""

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from bench.fuzz import campaign
from bench.fuzz.campaign import Tally, feed, vectors_in
from bench.fuzz.corpus import Corpus
from bench.fuzz.mutation import CHANGES, mutate, mutate_value
from bench.fuzz.targets import ACCEPTED, REASONS, Target, UnsoundError, all_targets
from command_line.__main__ import main
from device_protocol import cbor
from device_protocol.errors import RejectionError

# A certificate's serial number that is not positive: warned of when it is read, refused afterwards.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning"
)

VECTORS = Path(__file__).parents[2] / "data" / "cose"
MESSAGES = 30_000
MIB = 1 << 20


def drawn(number: int) -> Random:
    return Random(number)  # noqa: S311 - to be repeatable is its purpose


@pytest.fixture(scope="module")
def targets() -> list[Target]:
    return all_targets(Corpus(), vectors_in(VECTORS))


@pytest.fixture(scope="module")
def tally(targets: list[Target]) -> Tally:
    return feed(targets, 1, range(MESSAGES), lambda _: None)


def test_only_defined_refusals_come_of_bent_messages(tally: Tally) -> None:
    assert [f"{each.target} {each.number}: {each.what}" for each in tally.findings] == []
    assert tally.found == 0
    assert {code for codes in tally.codes.values() for code in codes} <= REASONS


def test_every_kind_of_message_is_fed_and_both_refused_and_accepted(
    tally: Tally, targets: list[Target]
) -> None:
    assert set(tally.codes) == {target.name for target in targets}
    for name, codes in tally.codes.items():
        assert codes[ACCEPTED] > 0, name
        assert codes.total() - codes[ACCEPTED] > 0, name


def test_campaign_reaches_most_checks_of_the_envelope(tally: Tally) -> None:
    """Were every message refused at the first check, nothing behind it would be tried."""
    met = sum(tally.codes.values(), Counter[str]())
    assert {
        "size", "encoding", "structure", "version", "topic", "unknown-device", "signer",
        "unknown-epoch", "not-recipient", "unwrap", "algorithm", "aead", "signature", "seq-form",
        "seq-limit", "content-format", "payload", "reading-time", "unknown-datastream",
        "unit-mismatch", "out-of-range", "key-set-expired", "request-signature",
    } <= set(met)  # fmt: skip


def test_no_message_takes_long(tally: Tally) -> None:
    assert tally.slowest_seconds < campaign.SLOW_SECONDS, tally.slowest


def test_no_message_takes_much_memory(targets: list[Target]) -> None:
    """Traced, message by message: what is taken is in proportion to what was sent."""
    for number in range(1500):
        random = drawn(number)
        target = random.choices(targets, [target.share for target in targets])[0]
        message, act = target.feed(random)
        tracemalloc.start()
        try:
            act()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MIB + 200 * len(message), (target.name, number)


def test_same_number_is_the_same_message_in_every_process() -> None:
    first, again = (all_targets(Corpus(), vectors_in(VECTORS)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        for number in range(20):
            message, _ = one.feed(drawn(number))
            assert other.feed(drawn(number))[0] == message, one.name


def test_what_should_not_have_been_accepted_is_found() -> None:
    """The campaign itself is tried: on a receiver that takes everything, dies or dawdles."""

    def unsound() -> str:
        raise UnsoundError("taken")

    def broken() -> str:
        raise IndexError("beyond the end")

    for name, act, what in (
        ("unsound", unsound, "UnsoundError: taken"),
        ("broken", broken, "IndexError: beyond the end"),
        ("undefined", lambda: "whatever", "the undefined reason 'whatever'"),
    ):
        target = Target(name, lambda _, act=act: (b"\x01", act))
        found = feed([target], 1, range(3), lambda _: None)
        assert found.found == 3
        assert (found.findings[0].what, found.findings[0].message) == (what, "01")


@pytest.mark.parametrize("change", dict.fromkeys(CHANGES))
def test_every_change_ends_and_stays_in_bounds(change: object) -> None:
    corpus = Corpus()
    for number in range(200):
        random = drawn(number)
        bent = change(random, corpus.readings, (corpus.description,))  # type: ignore[operator]
        assert len(bent) < 1_000_000
        change(random, b"", ())  # type: ignore[operator]
    assert len(mutate(drawn(1), bytes(70_000), ())) <= 70_000


def test_changed_values_are_mostly_well_formed_again() -> None:
    """Else nothing behind the first check would ever be met."""
    corpus, well_formed = Corpus(), 0
    for number in range(200):
        try:
            cbor.decode(mutate_value(drawn(number), corpus.description), floats=True)
        except RejectionError:
            continue
        well_formed += 1
    assert well_formed > 140


def test_command_shares_the_work_and_reports_for_scripts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["verify", "fuzz", "--messages", "2000", "--processes", "2", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["messages"], told["findings"]) == (2000, 0)
    assert sum(sum(codes.values()) for codes in told["codes"].values()) == 2000


def test_command_refuses_what_are_no_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "envelope-x.json").write_text("[]")
    assert main(["verify", "fuzz", "--messages", "10", "--vectors", str(tmp_path)]) == 2
    assert "not vectors" in capsys.readouterr().err
