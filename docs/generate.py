"""Writes the parts of the documentation that the code knows best, between their markers.

    .venv/bin/python -m docs.generate

Commands, settings, adapters, metrics, reasons, quality flags and what SensorThings supports are
read from the code and put into docs/reference; the table of threats is that of the attack tests,
and stands in docs/explanation/security.md. What they mean to a person is written by hand around
them. tests/unit/test_docs.py fails while a page differs from what would be written here.
"""  # noqa: INP001 - run from the root of a checkout; no package of the product

import argparse
import dataclasses
import importlib
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from analytics.settings import AnalyticsSettings
from api.pages.words import QUALITY_FLAGS, REASONS
from api.publishing.settings import PublishSettings
from api.settings import ApiSettings
from command_line.__main__ import COMMANDS
from command_line.demo.layout import default_data_directory
from device_protocol.errors import QUARANTINED, RejectionError
from device_protocol.reading import Quality
from docs import one_reading
from edge_agent.clock import Clock
from edge_agent.health.facts import AdapterFacts, Facts
from edge_agent.health.metrics import AgentMetrics
from edge_agent.inputs.payload import TABLES, decoder_names, load_decoder
from edge_agent.sensors import ADAPTERS, adapter_names, settings_class
from edge_agent.settings import AgentSettings
from edge_agent.spool.store import Depth
from enrolment.settings import EnrolmentSettings
from ingest.settings import IngestSettings
from runtime.setting_types import Limits, tables_in
from runtime.settings import SettingDescription, describe
from standards_mapping.sensorthings.conformance import CONFORMANCE
from standards_mapping.sensorthings.expression import FUNCTIONS
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.units import UNITS
from tests.attack.threats import THREATS

CHECKOUT: Final = Path(__file__).parents[1]
SECURITY: Final = CHECKOUT / "docs" / "explanation" / "security.md"
GUIDES: Final = CHECKOUT / "docs" / "how-to"
PAGES: Final = (*sorted((CHECKOUT / "docs" / "reference").glob("*.md")), SECURITY)
"""The pages that may have generated parts."""
MARKER: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
METRIC: Final = re.compile(r"\b((?:ingest|enrolment)_[a-z_]+)\b")
TOML_EXAMPLE: Final = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

METRIC_MODULES: Final[Mapping[str, Sequence[str]]] = {
    "ingest": ("ingest.metrics",),
    "api": ("api.layers.metrics", "api.live", "api.reads", "api.layers.rate_limit"),
    "analytics": ("analytics.runner", "analytics.condition"),
    "enrolment": ("enrolment.metrics",),
    "publish": ("api.publishing.publisher",),
}
"""Where each central process makes its metrics; the agent's are made when they are asked for."""

WAYS: Final[Mapping[tuple[str, str], str]] = {
    ("device", "Path"): "serial port",
    ("baud_rate", "int"): "serial port",
    ("host", "str"): "TCP",
    ("local_broker", "str"): "MQTT",
    ("push_path", "str"): "HTTP, pushed to the gateway",
    ("url", "str"): "HTTP, fetched by the gateway",
    ("command", "tuple"): "program",
    ("file", "Path"): "file",
    ("files", "Mapping"): "files of the kernel",
    ("disk_path", "Path"): "files of the kernel",
}
"""How an adapter reaches its sensor, told by the name and kind of the setting that says where."""


# Tables


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; `|` in a cell is escaped."""
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def code(text: str) -> str:
    """Return `text` as code, nothing if it is empty."""
    return f"`{text}`" if text else ""


# The command line


def command_parser() -> argparse.ArgumentParser:
    """Return a parser of every command, as `kerbstone` makes it for the one that is asked for."""
    parser = argparse.ArgumentParser(prog="kerbstone")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help)
        importlib.import_module(command.module).configure(subparser)
    return parser


def commands() -> Iterator[str]:
    """Yield a section for each command, with a table of what each action takes."""
    for name, parser, help_text in _actions(command_parser()):
        command = COMMANDS.get(name)
        if command is not None:
            yield f"\n## kerbstone {name}\n\n{sentence(command.help)}"
        else:
            yield f"\n### kerbstone {name}\n\n{sentence(help_text)}"
        rows = list(_argument_rows(parser))
        if rows:
            yield ""
            yield from table(("Argument", "Meaning"), rows)
        if parser.epilog:
            yield f"\n{parser.epilog}"
    yield ""


def _actions(
    parser: argparse.ArgumentParser, prefix: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in _arguments(parser):
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - has no public name
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        for name, below in action.choices.items():
            yield f"{prefix}{name}", below, helps[name]
            yield from _actions(below, f"{prefix}{name} ")


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse shows them only as text for a terminal


def _argument_rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in _arguments(parser):
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # noqa: SLF001
            continue
        others = [
            code(other.option_strings[0])
            for group in parser._mutually_exclusive_groups  # noqa: SLF001
            for other in group._group_actions  # noqa: SLF001
            if action in group._group_actions and other is not action  # noqa: SLF001
        ]
        meaning = _meaning(action)
        if others:
            meaning += f"; not together with {' or '.join(others)}"
        yield code(_written(action)), meaning


def _written(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return f"[{value} …]" if action.nargs == "*" else str(value)
    name = ", ".join(action.option_strings)
    return name if action.nargs == 0 else f"{name} {value}"


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "") % vars(action)
    if action.option_strings and action.required:
        text += " (needed)"
    elif action.default not in (None, False, "", []) and "default" not in text:
        text += f" (default {action.default})"
    text = text.replace(str(default_data_directory()), "`~/.local/share/kerbstone/demo`")
    return text.replace(f"{CHECKOUT}/", "").strip()


def sentence(text: str) -> str:
    """Return a phrase of help as a sentence."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


# Settings


def settings(cls: type[Any], name: str) -> Iterator[str]:
    """Yield a section for the settings of a process and each table in them."""
    yield f"\n{_contract(cls)}\n"
    for heading, owner in _tables(cls, ""):
        if heading:
            yield f"\n### {name}: {heading}\n\n{_contract(owner)}\n"
        yield from table(
            ("Setting", "Allowed", "Default", "Meaning"), map(_setting_row, _own(owner))
        )
    yield ""


def _contract(documented: type[Any] | types.ModuleType) -> str:
    return (documented.__doc__ or "").split("\n\n")[0]


def _tables(cls: type[Any], path: str, heading: str = "") -> Iterator[tuple[str, type[Any]]]:
    """Yield every table of settings with its heading in a TOML file, outermost first."""
    yield heading, cls
    limits = {
        field.name: field.metadata.get("limits") or Limits() for field in dataclasses.fields(cls)
    }
    for field_name, hint in hints_of(cls).items():
        choice = limits[field_name].choice
        found = tables_in(hint, limits[field_name])
        dotted = f"{path}{field_name}"
        for below in found:
            is_list, is_named = _shape(hint)
            written = f"[[{dotted}]]" if is_list else f"[{dotted}{'.<name>' if is_named else ''}]"
            below_heading = code(written)
            if choice is not None:
                value = next(name for name in choice.names() if choice.find(name) is below)
                below_heading += f""" with `{choice.key} = "{value}"`"""
            yield from _tables(below, f"{dotted}.", below_heading)


def _shape(hint: Any) -> tuple[bool, bool]:
    """Return whether a table comes in a list, and whether in a table of names."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _shape(get_args(hint)[0])
    return origin is tuple, origin is not None and origin is not tuple


def _own(cls: type[Any]) -> list[tuple[SettingDescription, Limits]]:
    limits = {field.name: field.metadata.get("limits") for field in dataclasses.fields(cls)}
    return [(row, limits[row.key] or Limits()) for row in describe(cls) if row.key in limits]


def _setting_row(described: tuple[SettingDescription, Limits]) -> tuple[str, str, str, str]:
    row, limits = described
    if not row.doc:  # what tells the kinds of a table apart
        return code(row.key), code(row.allowed), "needed", f"Chooses this kind of {row.key}."
    allowed = row.allowed
    if limits.pattern is not None:
        or_empty = "empty, or " if limits.pattern.startswith("|") else ""
        allowed = f"{or_empty}text of the form {code(limits.pattern.removeprefix('|'))}"
    if limits.must_exist:
        allowed += ", which must exist"
    default = {"": "needed", "None": "none", "{}": "empty"}.get(row.default, code(row.default))
    doc = f"{row.doc} Never shown." if limits.secret else row.doc
    return code(row.key), allowed, default, doc


# Adapters


def adapters() -> Iterator[str]:
    """Yield the table of adapters: what each reads, by what, and where that is told."""
    guides = {name: guide for guide in sorted(GUIDES.glob("*.md")) for name in _shown(guide)}
    yield from table(
        ("Adapter", "Reads", "By", "Guide", "Settings"),
        (
            (
                code(name),
                _contract(sys.modules[ADAPTERS[name].harvests.__module__]).replace("\n", " "),
                "; ".join(_ways(settings_class(name))),
                _guide(guides[name]) if name in guides else "",
                f"[{name}](settings.md#agent-sensor-with-adapter--{name})",
            )
            for name in adapter_names()
        ),
    )


def _shown(guide: Path) -> Iterator[str]:
    """Yield the adapters that a guide has an example of."""
    for example in TOML_EXAMPLE.findall(guide.read_text(encoding="utf-8")):
        for sensor in tomllib.loads(example).get("sensor", ()):
            if isinstance(sensor, dict):  # else the table of one alone, as in a guide to checks
                yield sensor.get("adapter", "")


def _guide(page: Path) -> str:
    heading = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return f"[{heading}](../how-to/{page.name})"


def _ways(cls: type[Any]) -> list[str]:
    """Return by what an adapter with these settings reaches its sensor."""
    found: list[str] = []
    for name, hint in hints_of(cls).items():
        kinds = [get_origin(kind) or kind for kind in (hint, *get_args(hint))]
        keys = [(name, kind.__name__) for kind in kinds if isinstance(kind, type)]
        found += [WAYS[key] for key in keys if key in WAYS]
    return list(dict.fromkeys(found))


def decoders() -> Iterator[str]:
    """Yield the table of LoRaWAN devices: what each reports, and where its maker says how."""
    known = {name: load_decoder(Path(name)).table for name in decoder_names()}
    yield from table(
        ("`decoder`", "Device", "Always", "With `also`"),
        (
            (
                code(name),
                f"[{found.maker} {found.model}]({found.document}): {_opening(name)}",
                ", ".join(code(one.name) for one in found.datastream if not one.optional),
                ", ".join(code(one.name) for one in found.datastream if one.optional),
            )
            for name, found in known.items()
        ),
    )


def _opening(name: str) -> str:
    """Return the first words of the comment that opens a decoder's table: what the device is."""
    text = (TABLES / f"{name}.toml").read_text(encoding="utf-8")
    words = " ".join(re.findall(r"^# (.+)", text.partition("maker")[0], re.MULTILINE))
    first = re.split(r"[.;]", words)[0]
    return f"{first[:1].lower()}{first[1:]}"


# Metrics


def agent_metrics() -> Iterator[str]:
    """Yield a table of the agent's metrics, taken from an agent that has seen everything."""
    facts = Facts(started_at=0, last_acknowledgement_at=0, certificate_not_after=0)
    facts.adapters = {"urn": AdapterFacts("host")}
    facts.count("sent")
    facts.flagged["suspect"] = 1
    facts.renewals["renewed"] = 1
    registry = CollectorRegistry()
    registry.register(AgentMetrics(facts, lambda: Depth(0, 0, None), Clock(Path("clock"))))
    yield from _metric_table(
        (family.name, family.type, family.documentation, sorted(family.samples[0].labels))
        for family in registry.collect()
    )


def process_metrics(modules: Sequence[str]) -> Iterator[str]:
    """Yield a table of the metrics that these modules make."""
    found = [
        value
        for module in modules
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, MetricWrapperBase)
    ]
    yield from _metric_table(
        (family.name, family.type, family.documentation, metric._labelnames)  # noqa: SLF001
        for metric in found
        for family in metric.describe()
    )


def _metric_table(metrics: Iterable[tuple[str, str, str, Sequence[str]]]) -> Iterator[str]:
    yield from table(
        ("Metric", "Kind", "Labels", "Meaning"),
        (
            (
                code(f"{name}_total" if kind == "counter" else name),
                kind,
                ", ".join(map(code, labels)),
                sentence(meaning),
            )
            for name, kind, meaning, labels in metrics
        ),
    )


# Refusals and quality


def refusals() -> list[type[RejectionError]]:
    """Return every refusal that has a reason of its own, by code, those without one last."""
    known = [RejectionError]
    for kind in known:  # grows as it goes
        known += kind.__subclasses__()
    with_reason = [kind for kind in known[1:] if "reason" in vars(kind)]
    return sorted(with_reason, key=lambda kind: kind.code or sys.maxsize)


def reasons() -> Iterator[str]:
    """Yield the table of reasons: those of the envelope's section 8, then the others."""
    yield from table(
        ("Code", "Reason", "Meaning", "Kept"),
        (
            (
                str(kind.code or ""),
                code(kind.reason),
                REASONS.get(kind.reason) or _contract(kind),
                "yes" if kind.reason in QUARANTINED else "no",
            )
            for kind in refusals()
        ),
    )


def quality() -> Iterator[str]:
    """Yield the table of quality flags."""
    yield from table(
        ("Value", "Flag in SensorThings", "On the pages"),
        ((str(flag.value), code(*flag.flags), QUALITY_FLAGS[flag.value]) for flag in Quality),
    )


# Threats


def threats() -> Iterator[str]:
    """Yield the table of threats, each with what stops it, where it shows, and its tests."""
    yield from table(
        ("Threat", "Stopped by", "By what", "Seen in", "Shown by"),
        (
            (
                f"**{threat.threat}**",
                ", ".join(threat.stopped_by),
                threat.check,
                METRIC.sub(r"`\1`", threat.alarm),
                ", ".join(_attack_test(test) for test in threat.tests),
            )
            for threat in THREATS
        ),
    )


def _attack_test(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{code(name.removeprefix('test_'))}](../../tests/attack/{file})"


# SensorThings


def conformance() -> Iterator[str]:
    """Yield the requirements that the landing page claims."""
    for claim in CONFORMANCE:
        yield f"- `{claim}`"


def entities() -> Iterator[str]:
    """Yield the entity types with their properties and links."""
    yield from table(
        ("Entity set", "Properties", "Links"),
        (
            (
                code(entity.set_name),
                ", ".join(map(code, entity.properties)),
                ", ".join(map(code, entity.navigations)),
            )
            for entity in ENTITY_TYPES.values()
        ),
    )


def functions() -> Iterator[str]:
    """Yield the names of the built-in functions."""
    yield ", ".join(map(code, sorted(FUNCTIONS)))


def units() -> Iterator[str]:
    """Write the units that results can be in."""
    rows = ((code(key), code(unit.ucum), unit.label) for key, unit in UNITS.items())
    yield from table(("Code", "UCUM", "Name"), rows)


PARTS: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "commands": commands,
    "agent-settings": lambda: settings(AgentSettings, "agent"),
    "ingest-settings": lambda: settings(IngestSettings, "ingest"),
    "api-settings": lambda: settings(ApiSettings, "serve"),
    "analytics-settings": lambda: settings(AnalyticsSettings, "analytics"),
    "enrolment-settings": lambda: settings(EnrolmentSettings, "enrolment"),
    "publish-settings": lambda: settings(PublishSettings, "publish"),
    "adapters": adapters,
    "decoders": decoders,
    "agent-metrics": agent_metrics,
    "ingest-metrics": lambda: process_metrics(METRIC_MODULES["ingest"]),
    "api-metrics": lambda: process_metrics(METRIC_MODULES["api"]),
    "analytics-metrics": lambda: process_metrics(METRIC_MODULES["analytics"]),
    "enrolment-metrics": lambda: process_metrics(METRIC_MODULES["enrolment"]),
    "publish-metrics": lambda: process_metrics(METRIC_MODULES["publish"]),
    "reasons": reasons,
    "quality": quality,
    "threats": threats,
    "conformance": conformance,
    "entities": entities,
    "functions": functions,
    "units": units,
    **one_reading.PARTS,
}
"""What can stand between the markers of a page, by name."""


def parts_of(text: str) -> list[str]:
    """Return the names of the generated parts in a page."""
    return [found["name"] for found in MARKER.finditer(text)]


def generated(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    return MARKER.sub(
        lambda found: "\n".join([found["begin"].rstrip(), *PARTS[found["name"]](), found["end"]]),
        text,
    )


def main() -> None:
    """Rewrite every page that has generated parts."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = generated(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"wrote {page}\n")


if __name__ == "__main__":
    main()
