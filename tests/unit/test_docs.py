"""The documentation agrees with the code, and with itself.

`python -m docs.generate` writes what of it comes from the code.
"""

import ast
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from edge_agent.sensors import adapter_names
from edge_agent.settings import check

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ROOMS = sorted({path.parent.name for path in ROOT.glob("*/__init__.py")})

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> Iterator[str]:
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say after #, as the usual forges make it."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        repeated = (f"{slug}-{number}" for number in range(1, 100))
        found.add(slug if slug not in found else next(s for s in repeated if s not in found))
    return found


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(prose(page)) if not link.startswith(("http:", "https:"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_first() -> None:
    reached = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            ahead += target.glob("*.md") if target.is_dir() else [target]
    assert set(PAGES) - reached == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_on_this_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("page", generate.PAGES, ids=name_of)
def test_what_comes_from_the_code_is_as_in_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generate.generated(text), "run: .venv/bin/python -m docs.generate"


def test_every_generated_part_stands_on_one_page() -> None:
    found = [
        part
        for page in generate.PAGES
        for part in generate.parts_of(page.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == sorted(generate.PARTS)


def test_generating_again_changes_nothing_and_keeps_what_was_written_by_hand() -> None:
    page = "# By hand\n\n<!-- generated: quality -->\nold\n<!-- end -->\n\nAfter it.\n"
    once = generate.generated(page)
    assert once.startswith("# By hand\n\n<!-- generated: quality -->\n| Value |")
    assert once.endswith("\n<!-- end -->\n\nAfter it.\n")
    assert "old" not in once
    assert generate.generated(once) == once


# Adapters


def test_every_adapter_has_a_way_to_its_sensor_and_a_guide_with_an_example() -> None:
    rows = [line.strip("| ").split(" | ") for line in generate.adapters()][2:]
    assert [row[0].strip("`") for row in rows] == list(adapter_names())
    assert [row for row in rows if len(row) != 5 or not all(map(str.strip, row))] == []


# Commands


def commands_of(page: Path) -> Iterator[list[str]]:
    """Every `./kerbstone …` in the page's shell examples and indented lines, as words."""
    text = page.read_text(encoding="utf-8")
    indented = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    for block in [*blocks(page, "sh"), indented]:
        for line in block.replace("\\\n", " ").splitlines():
            if "./kerbstone " in line:
                words = shlex.split(line, comments=True)
                yield words[words.index("./kerbstone") + 1 :]


COMMANDS = [(name_of(page), words) for page in PAGES for words in commands_of(page)]


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS]
)
def test_every_command_that_is_shown_is_understood(page: str, words: list[str]) -> None:
    try:
        generate.command_parser().parse_args(words)
    except SystemExit as stopped:
        pytest.fail(f"{page}: kerbstone {' '.join(words)}: status {stopped.code}")


def test_commands_are_found_in_the_pages_that_show_them() -> None:
    pages = {page for page, _ in COMMANDS}
    assert {"README.md", "CONTRIBUTING.md", "docs/tutorials/first-city.md"} <= pages


# Settings


def test_the_example_of_a_gateways_settings_has_no_mistakes(tmp_path: Path) -> None:
    (example,) = blocks(DOCS / "how-to/run-a-gateway.md", "toml")
    file = tmp_path / "gateway.toml"
    file.write_text(example)
    assert check(file) == []


def test_the_mistakes_that_are_shown_are_those_of_the_example(tmp_path: Path) -> None:
    page = DOCS / "how-to/run-a-gateway.md"
    (example,) = blocks(page, "toml")
    spoilt = example.replace("port = 8884", "prot = 8884").replace("= 10", '= "10"')
    file = tmp_path / "gateway.toml"
    file.write_text(spoilt)
    told = "".join(f"{mistake}\n" for mistake in check(file)).replace(f"{tmp_path}/", "")
    assert told in list(blocks(page, "text"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_toml_example_is_toml(page: Path) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)


# Metrics


def test_every_module_that_makes_metrics_is_documented() -> None:
    """Also when a new one begins to: found by its import, wherever it is."""
    expected = {name for modules in generate.METRIC_MODULES.values() for name in modules}
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            top = ast.parse(path.read_text(encoding="utf-8")).body
            if any(
                isinstance(node, ast.ImportFrom) and node.module == "prometheus_client"
                for node in top
            ):
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert found == expected


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_metric_that_is_named_exists(page: Path) -> None:
    parts = [name for name in generate.PARTS if name.endswith("-metrics")]
    known = {
        name for part in parts for line in generate.PARTS[part]() for name in CODE.findall(line)
    }
    named = {
        name
        for code in CODE.findall(prose(page))
        for name in re.findall(r"\b(?:edge|ingest|api|analytics|enrolment)_[a-z_]+", code)
        if name not in ROOMS and "/" not in code and "." not in code
    }
    assert named - known == set()


# Refusals


def test_every_reason_has_its_advice_and_no_other_is_named() -> None:
    text = (DOCS / "reference/reasons.md").read_text(encoding="utf-8")
    advice = text.partition("## What to do")[2]
    advised = [
        reason
        for line in advice.splitlines()
        if line.startswith("| `")
        for reason in CODE.findall(line.split("|")[1])
    ]
    assert sorted(advised) == sorted(kind.reason for kind in generate.refusals())


def test_the_envelopes_table_of_codes_names_every_refusal() -> None:
    text = (DOCS / "reference/envelope.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| ([a-z-]+) \|", text, re.MULTILINE)
    told = {(int(code), reason) for code, reason in rows}
    assert told == {(kind.code, kind.reason) for kind in generate.refusals() if kind.code}


# The code itself


def code_spans() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for code in CODE.findall(prose(page)):
            yield name_of(page), code


PLACES = sorted(
    {
        (page, code)
        for page, code in code_spans()
        if re.fullmatch(r"(?:\.?[\w-]+/)[\w./-]*", code)
        and code.split("/")[0]
        in {
            *ROOMS,
            "docs",
            "tests",
            "deploy",
            "bench",
            "dashboard",
            ".ci",
        }
    }
)
NAMES = sorted(
    {
        (page, code)
        for page, code in code_spans()
        if re.fullmatch(r"[a-z_]+(?:\.[A-Za-z_]+)+", code) and code.split(".")[0] in ROOMS
    }
)


@pytest.mark.parametrize(("page", "place"), PLACES)
def test_every_file_of_the_project_that_is_named_exists(page: str, place: str) -> None:
    made_by_running = {"bench/results/", "bench/results"}
    assert (ROOT / place).exists() or place in made_by_running, page


@pytest.mark.parametrize(("page", "name"), NAMES)
def test_every_name_of_the_code_that_is_mentioned_exists(page: str, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    is_there = hasattr(importlib.import_module(module), attribute)
    assert is_there or importlib.util.find_spec(name) is not None, page
