"""What the landing page claims is held by tests that exist."""

import ast
from functools import cache
from pathlib import Path

import pytest

from standards_mapping.sensorthings.conformance import CONFORMANCE
from tests.conformance.requirements import CLASSES, ROOT, TESTS

FOLDER = Path(__file__).parents[1]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((FOLDER / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


@pytest.mark.parametrize("claim", CONFORMANCE)
def test_every_claim_is_held_by_tests(claim: str) -> None:
    assert claim.startswith(ROOT)
    name = claim.removeprefix(ROOT)
    requirements = CLASSES.get(name, (name,))
    assert any(requirements[0] in known for known in CLASSES.values()), f"{name} is not known"
    assert [one for one in requirements if not TESTS.get(one)] == []


def test_the_table_names_requirements_and_tests_that_exist() -> None:
    assert set(TESTS) <= {one for requirements in CLASSES.values() for one in requirements}
    for requirement, tests in TESTS.items():
        for test in tests:
            file, _, name = test.partition("::")
            assert name in functions_of(file), f"{requirement}: {test}"
