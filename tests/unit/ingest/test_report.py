from ingest.report import RefusalCounts
from storage.quarantine import RefusalCount


def count(n: int, at: int, *, reason: str = "aead", detail: str = "") -> RefusalCount:
    return RefusalCount(
        tenant="camden", device="", reason=reason, n=n, last_at=at, last_detail=detail
    )


def test_refusals_gather_by_reason_with_the_last_detail() -> None:
    counts = RefusalCounts()
    counts.add(count(1, 10, detail="first"))
    counts.add(count(2, 20, detail="last"))
    counts.add(count(5, 15, reason="size"))
    assert counts.take() == [count(3, 20, detail="last"), count(5, 15, reason="size")]
    assert counts.take() == []


def test_counts_that_could_not_be_written_are_added_again() -> None:
    counts = RefusalCounts()
    counts.add(count(1, 10))
    unwritten = counts.take()
    counts.add(count(2, 20))
    counts.give_back(unwritten)
    assert [found.n for found in counts.take()] == [3]
    assert counts.take() == []
