from collections import Counter

import pytest

from ingest.workers.ownership import Ownership, owner


@pytest.mark.parametrize(
    ("name", "workers", "number"),
    [
        ("k7q2m9xd4t", 1, 0),
        ("k7q2m9xd4t", 2, 1),
        ("k7q2m9xd4t", 4, 1),
        ("w3n8b5rc6h", 4, 1),
        ("z9f4j2tv7p", 64, 3),
        ("camden", 3, 0),
    ],
)
def test_owner_is_the_same_for_ever(name: str, workers: int, number: int) -> None:
    assert owner(name, workers) == number


def test_work_is_spread_evenly() -> None:
    count = Counter(owner(f"gateway-{n}", 8) for n in range(8000))
    assert set(count) == set(range(8))
    assert all(850 < each < 1150 for each in count.values())


def test_every_gateway_has_one_owner() -> None:
    workers = [Ownership(worker=n, workers=4) for n in range(4)]
    for number in range(100):
        device = ("camden", f"gateway-{number}")
        [found] = [each.worker for each in workers if each.owns(device)]
        assert found == owner(device[1], 4)


def test_councils_stay_whole_where_they_are_the_unit() -> None:
    workers = [Ownership(worker=n, workers=3, by_council=True) for n in range(3)]
    for tenant in ("camden", "leeds", "bristol"):
        [found] = [each for each in workers if each.serves(tenant)]
        assert found.worker == owner(tenant, 3)
        assert all(found.owns((tenant, f"gateway-{n}")) for n in range(20))
        assert found.answers_for(tenant)


def test_share_serves_its_councils_alone() -> None:
    share = Ownership(share="north", tenants=frozenset({"leeds"}))
    assert share.owns(("leeds", "k7q2m9xd4t"))
    assert not share.owns(("camden", "k7q2m9xd4t"))
    assert not share.answers_for("camden")


def test_what_is_for_a_whole_council_has_one_publisher() -> None:
    workers = [Ownership(worker=n, workers=4) for n in range(4)]
    assert [each.answers_for("camden") for each in workers].count(True) == 1


def test_a_single_process_owns_everything() -> None:
    alone = Ownership()
    assert alone.owns(("anywhere", "anything"))
    assert not alone.is_part
    assert not alone.divides_councils
