"""Help, hypervolume and reports never wait for torch: what is loaded is looked at in a fresh process."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import pareto.cli

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "botorch",
    "ray",
    "pandas",
    "matplotlib",
    "scipy",
    "gymnasium",
)
COMMANDS = sorted(m.name.strip("_").replace("_", "-") for m in pkgutil.iter_modules(pareto.cli.__path__) if not m.name.startswith("_"))  # fmt: skip


def _loaded_by(code: str) -> list[str]:
    """Which of the heavy packages a fresh process has loaded after running the code."""
    script = f"import json, sys\n{code}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_importing_the_package_is_light():
    assert _loaded_by("import pareto, pareto.errors, pareto.objectives, pareto.config, pareto.cells") == []


def test_every_help_text_is_light():
    calls = [[], ["--version"], ["--help"], *([command, "--help"] for command in COMMANDS)]
    code = f"""
from pareto.cli import main
for arguments in {calls!r}:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
"""
    assert _loaded_by(code) == []


@pytest.mark.parametrize(
    "room", ["pareto.front", "pareto.policy_set", "pareto.study.config", "pareto.report"]
)
def test_rooms_that_read_run_folders_do_without_torch(room):
    assert not {"torch", "transformers", "peft", "accelerate", "botorch"} & set(_loaded_by(f"import {room}"))
