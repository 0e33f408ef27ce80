"""Proves that a gateway needs only the `edge` extra, and nothing of the centre."""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ("tests/unit/device_protocol", "tests/unit/runtime", "tests/unit/edge_agent")
FORBIDDEN = ("psycopg", "fastapi", "numpy", "jinja2")


def main() -> int:
    """Make the environment, check what is absent, run the edge's tests; return their status."""
    with tempfile.TemporaryDirectory(prefix="kerbstone-edge-") as folder:
        python = _make_environment(Path(folder))
        present = [name for name in FORBIDDEN if _imports(python, name)]
        if present:
            print(f"the edge extra brings {', '.join(present)}, which a gateway must not need")
            return 1
        command = [python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *TESTS]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        tests = subprocess.run(command, cwd=ROOT, env=environment, check=False)  # noqa: S603
        return tests.returncode


def _make_environment(folder: Path) -> str:
    uv = shutil.which("uv")
    lock = str(ROOT / "deploy/requirements/edge-dev.txt")
    python = str(folder / "bin/python")
    venv.create(folder, with_pip=uv is None)
    if uv is not None:
        installer = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        installer = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*installer, "--require-hashes", "-r", lock], check=True)  # noqa: S603
    return python


def _imports(python: str, name: str) -> bool:
    probe = subprocess.run([python, "-c", f"import {name}"], check=False, capture_output=True)  # noqa: S603
    return probe.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
