"""Arguments that several commands share."""

from __future__ import annotations

import argparse


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """`--set key=value` and `--import MODULE`, as `overrides` and `imports` of `load_study`."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set one key, dotted, value read as YAML; may be given several times. As in YAML, a section that is given in "
        "part takes its own defaults for the rest, not what the method has in its place (method.round_ppo of cmorl, for "
        "instance): `pareto config CONFIG --set ...` shows the outcome",
    )
    add_import_argument(parser)


def add_offline_argument(parser: argparse.ArgumentParser) -> None:
    """`--offline`, which `main` heeds before the command runs."""
    parser.add_argument(
        "--offline",
        action="store_true",
        help="refuse every connection to another machine, here and in workers (or PARETO_OFFLINE=1)",
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """`--trust-remote-code`, which `main` tells this process and its workers before the command runs."""
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="let a model's folder run code of its own"
    )


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """`--import MODULE` as `imports`."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="import a module first, so that what it registers can be named",
    )


def add_of_argument(parser: argparse.ArgumentParser) -> None:
    """`--of METHOD`, for folders that hold policies of several methods."""
    parser.add_argument(
        "--of", metavar="METHOD", help="only the policies of one method, where the folder holds several"
    )
