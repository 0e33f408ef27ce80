"""`kerbstone agent run|enrol|status|check-config|try|decode`: the gateway's side."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from command_line import agent_decode, agent_enrol, agent_try
from command_line.process import USAGE_ERROR, configure_config, run_process
from edge_agent.health.status import AlreadyRunningError, read_status
from edge_agent.settings import AgentSettings, mistakes_in
from runtime.settings import SettingsError, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    configure_config(actions.add_parser("run", help="read sensors and send until stopped"))
    enrolling = actions.add_parser("enrol", help="make this computer a gateway, by an invitation")
    agent_enrol.configure(enrolling)
    status = actions.add_parser("status", help="one screen: connection, spool, certificate, clock")
    status.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gateway's settings, TOML"
    )
    status.add_argument("--json", action="store_true", help="for scripts")
    checking = actions.add_parser("check-config", help="name every mistake in a settings file")
    checking.add_argument("file", type=Path, metavar="FILE", help="settings, TOML")
    checking.add_argument("--json", action="store_true", help="for scripts")
    trying = actions.add_parser("try", help="read the sensors now and show it; send nothing")
    agent_try.configure(trying)
    decoding = actions.add_parser("decode", help="what a table makes of one LoRaWAN frame")
    agent_decode.configure(decoding)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    if arguments.action == "run":
        # Here, not above: status and check-config need neither broker client nor spool.
        from edge_agent.agent import run as run_agent  # noqa: PLC0415

        return run_process(
            "agent", AgentSettings, run_agent, arguments, misused=(AlreadyRunningError,)
        )
    if arguments.action == "enrol":
        return agent_enrol.run(arguments)
    if arguments.action == "status":
        return _status(arguments.config, as_json=arguments.json)
    if arguments.action == "try":
        return agent_try.run(arguments)
    if arguments.action == "decode":
        return agent_decode.run(arguments)
    return _check(arguments.file, as_json=arguments.json)


def _status(config: Path, *, as_json: bool) -> int:
    try:
        status = read_status(load(AgentSettings, config))
    except (SettingsError, OSError) as error:
        print(f"kerbstone agent status: {error}", file=sys.stderr)
        return USAGE_ERROR
    print(json.dumps(asdict(status), default=str) if as_json else status.render())
    return 0 if status.running else 1


def _check(file: Path, *, as_json: bool) -> int:
    mistakes = mistakes_in(file)
    if as_json:
        rows = [asdict(mistake) | {"file": str(mistake.file)} for mistake in mistakes]
        print(json.dumps({"file": str(file), "mistakes": rows}))
    elif mistakes:
        print("\n".join(map(str, mistakes)))
    else:
        print(f"{file}: no mistakes")
    return 1 if mistakes else 0
