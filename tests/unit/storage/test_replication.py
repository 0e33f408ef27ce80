from storage.replication import Lag


def test_replica_that_has_all_is_not_behind_however_long_nothing_is_written() -> None:
    lag = Lag()
    lag.wrote(10.0, 100)
    assert lag.seconds(11.0, 100) == 0
    lag.wrote(500.0, 100)
    assert lag.seconds(501.0, 100) == 0


def test_lag_counts_from_when_the_oldest_of_what_is_missing_was_seen_written() -> None:
    lag = Lag()
    lag.wrote(10.0, 100)
    lag.wrote(11.0, 200)
    lag.wrote(12.0, 300)
    assert lag.seconds(13.0, 50) == 3.0
    assert lag.seconds(13.0, 250) == 1.0
    assert lag.seconds(13.0, 300) == 0


def test_lost_primary_leaves_the_lag_to_what_was_last_known_of_it() -> None:
    lag = Lag()
    lag.wrote(10.0, 100)
    assert lag.seconds(60.0, 99) == 50.0
    assert lag.seconds(61.0, 100) == 0
