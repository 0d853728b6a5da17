"""The command line: one file a command; the only room that prints.

A command is a module here with `HELP` (one line), `add_arguments(parser)` and `run(args) -> exit code`. Modules import
what they need inside `run`, so that `pareto --help` never loads torch. Adding a command is adding a file.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from pareto import offline, trust
from pareto.errors import MachineError, ParetoError, printable


def commands() -> dict[str, ModuleType]:
    """Command name -> module, for every module in this package that does not start with an underscore."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found[module.name.strip("_").replace("_", "-")] = importlib.import_module(
                f"{__name__}.{module.name}"
            )
    return found


def build_parser() -> argparse.ArgumentParser:
    """The whole command line as one parser."""
    parser = argparse.ArgumentParser(
        prog="pareto",
        description="Multi-objective alignment: sweep a Pareto front, report its hypervolume, steer along it.",
        epilog="examples:\n  pareto sweep configs/demo.yaml --out runs/demo\n  pareto report runs/demo\n"
        "  pareto steer runs/demo --weights helpful=0.7,brief=0.3 --prompt 'How do I stay safe online?'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, module in commands().items():
        sub = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=getattr(module, "EXAMPLES", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (0 done, 1 failed in part, 2 bad input, 3 interrupted, 4 requirement, 5 machine)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from pareto import __version__

        print(__version__)
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    _tell_workers(args)
    try:
        return int(args.run(args) or 0)
    except ParetoError as error:
        return _fail(args, error, error.exit_code)
    except KeyboardInterrupt:
        return _fail(args, "interrupted; run the same command again to resume", 3)
    except MemoryError:
        return _fail(args, "out of memory; use fewer workers or smaller batches", MachineError.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away (| head)
        return 0
    except Exception as error:  # libraries tell a full disk in their own ways; all else is raised again
        from pareto.state.atomic import is_disk_fault

        if is_disk_fault(error) or getattr(error, "errno", None) == errno.ENOMEM:
            return _fail(
                args, f"{error}; free some space or memory, then run this again", MachineError.exit_code
            )
        raise


def _tell_workers(args: argparse.Namespace) -> None:
    """What the command line says by environment, so that it holds for this process and all it starts."""
    if getattr(args, "offline", False):
        offline.ask()
    trust.say(getattr(args, "trust_remote_code", False))


def _fail(args: argparse.Namespace, error: object, code: int) -> int:
    if args.traceback:
        traceback.print_exc()
    for line in f"pareto {args.command}: {error}".split("\n"):
        print(printable(line), file=sys.stderr)
    return code
