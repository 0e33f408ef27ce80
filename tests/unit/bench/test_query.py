"""A plan is summed up by what it read, wherever its rows lie."""

from bench.query import read_by, rows_read, shortened

CHUNK = {
    "Node Type": "Index Only Scan",
    "Relation Name": "_hyper_1_30_chunk",
    "Index Name": "30_30_observation_pkey",
    "Actual Loops": 5000,
    "Actual Rows": 61.5,
}
PLAN = {
    "Node Type": "Nested Loop",
    "Actual Loops": 1,
    "Actual Rows": 3,
    "Plans": [
        CHUNK,
        CHUNK | {"Relation Name": "_hyper_1_31_chunk", "Index Name": "31_31_observation_pkey"},
        {
            "Node Type": "Seq Scan",
            "Relation Name": "rollup_1h",
            "Actual Loops": 3,
            "Actual Rows": 10,
            "Rows Removed by Filter": 90,
        },
        {
            "Node Type": "Bitmap Heap Scan",
            "Relation Name": "observation_2026_11",
            "Actual Loops": 1,
            "Actual Rows": 7,
            "Plans": [
                {
                    "Node Type": "Bitmap Index Scan",
                    "Index Name": "observation_2026_11_pkey",
                    "Actual Loops": 1,
                    "Actual Rows": 7,
                }
            ],
        },
        {"Node Type": "Seq Scan", "Relation Name": "thing", "Actual Loops": 1, "Actual Rows": 4},
        {"Node Type": "Seq Scan", "Relation Name": "latest", "Actual Loops": 0, "Actual Rows": 0},
    ],
}


def test_chunks_and_months_stand_for_their_table_and_the_registry_is_left_out() -> None:
    assert read_by(PLAN) == {"observation": "observation_pkey", "rollup_1h": "scan"}


def test_rows_that_a_scan_passed_over_count_too() -> None:
    assert rows_read(PLAN) == 2 * 5000 * 61.5 + 3 * 100 + 7 + 4


def test_a_long_line_keeps_its_ends() -> None:
    line = "begins" + "x" * 1000 + "ends"
    short = shortened(line)
    assert len(short) <= 150
    assert short.startswith("begins")
    assert short.endswith("ends")
    assert shortened("short") == "short"
