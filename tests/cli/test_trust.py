"""`--trust-remote-code` holds for the command that says it and for its workers, and for nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pareto import trust
from pareto.cli import build_parser, commands
from pareto.errors import ConfigError
from pareto.study.config import load_study

ARGUMENTS = {
    "sweep": ["x.yaml"],
    "score": ["x"],
    "steer": ["x", "--weights", "a=1"],
    "serve": ["x"],
    "export": ["x", "--weights", "a=1", "--out", "y"],
    "data": ["check", "x.jsonl"],
}
"""The commands that load models, with what else each must be told."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_only_this_command_line_trusts(
    name: str, pareto: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.VARIABLE, "1")  # what an environment says counts for nothing
    heard: list[bool] = []
    monkeypatch.setattr(commands()[name], "run", lambda args: heard.append(trust.is_given()))
    pareto(name, *ARGUMENTS[name])
    pareto(name, *ARGUMENTS[name], "--trust-remote-code")
    pareto(name, *ARGUMENTS[name])
    assert heard == [False, True, False]


def test_other_commands_have_no_such_switch() -> None:
    (group,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    have = {n for n, p in group.choices.items() if "--trust-remote-code" in p._option_string_actions}
    assert have | {"data"} == set(ARGUMENTS)  # `data` has it below its action `check`


@pytest.mark.parametrize("section", ["task", "method", "engine", None])
def test_no_config_can_ask_for_it(section: str | None, tmp_path: Path) -> None:
    study: dict = {
        "study": "x",
        "task": {"kind": "text", "model": "some/model", "data": ["rows.jsonl"], "objectives": ["good"]},
        "method": {"name": "modpo"},
        "engine": {},
    }
    (study if section is None else study[section])["trust_remote_code"] = True
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(study))
    with pytest.raises(ConfigError, match=r"unknown key '.*trust_remote_code'"):
        load_study(path)
