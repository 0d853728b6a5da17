"""`pareto config`: the resolved study, its errors, its schema."""

from __future__ import annotations

import argparse

from pareto.cli._study_arguments import add_study_arguments
from pareto.errors import UsageError

HELP = "show the resolved config of a study, check it, or print the JSON schema of all configs"
EXAMPLES = """examples:
  pareto config show configs/demo.yaml --set task.seed=11
  pareto config check configs/demo.yaml
  pareto config schema > study.schema.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=sorted(_ACTIONS), help="what to do")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file of a study")
    add_study_arguments(parser)


def run(args: argparse.Namespace) -> int:
    print(_ACTIONS[args.what](args))
    return 0


def _show(args: argparse.Namespace) -> str:
    return _study(args).to_yaml().rstrip()


def _check(args: argparse.Namespace) -> str:
    study = _study(args)
    return f"{args.config}: study {study.study!r}, task {study.task_kind}, method {study.method_name}: fine (sha256 {study.sha256})"


def _schema(args: argparse.Namespace) -> str:
    import json

    from pareto.study.config import json_schema

    return json.dumps(json_schema(), indent=2)


def _study(args: argparse.Namespace):
    from pareto.study.config import load_study

    if args.config is None:
        raise UsageError(f"expected a file: pareto config {args.what} CONFIG")
    return load_study(args.config, args.overrides, args.imports)


_ACTIONS = {"show": _show, "check": _check, "schema": _schema}
