"""`pareto score`: measure every policy of a run again."""

from __future__ import annotations

import argparse

from pareto.cli._study_arguments import add_offline_argument, add_study_arguments, add_trust_argument

HELP = "score every policy again on data it was not selected on; the run folder is only read"
EXAMPLES = """examples:
  pareto score runs/demo
  pareto score runs/dst --episodes 1000 --out rescored.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="run folder")
    parser.add_argument(
        "--split", choices=("heldout", "selection"), default="heldout", help="which units (default: heldout)"
    )
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help="episodes per policy: short for --set task.heldout_episodes=N (task.selection_episodes with --split selection)",
    )
    number.add_argument(
        "--prompts",
        type=int,
        metavar="N",
        help="prompts replied to per policy: short for --set task.generation.prompts=N",
    )
    parser.add_argument("--out", metavar="FILE", help="write policies and indicators as JSON, too")
    add_study_arguments(parser)
    add_offline_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    import sys
    from dataclasses import asdict
    from pathlib import Path

    from pareto.cli._columns import columns
    from pareto.errors import UsageError
    from pareto.state import atomic
    from pareto.study.rescore import rescore

    if args.out and not Path(args.out).parent.is_dir():
        raise UsageError(
            f"expected a file in an existing folder for --out; got {args.out}: make {Path(args.out).parent} first"
        )
    short = {f"task.{args.split}_episodes": args.episodes, "task.generation.prompts": args.prompts}
    settings = [*args.overrides, *(f"{key}={value}" for key, value in short.items() if value is not None)]
    found = rescore(
        args.folder,
        args.split,
        set=settings,
        imports=args.imports,
        progress=lambda done, total: print(f"scored {done}/{total}", file=sys.stderr),
    )
    for line in columns([_row(policy) for policy in found.policies]):
        print(line)
    for one in found.quarantined:
        print(f"quarantined {one['id']}: {one['why']}")
    for name, value in found.indicators.items():
        print(f"{name}: {value}")
    print(f"{len(found.changed)} of {len(found.policies)} policies measured otherwise than in the run")
    if args.out:
        atomic.write_json(Path(args.out), asdict(found))
        print(f"written: {args.out}")
    return 1 if found.quarantined else 0


def _row(policy: dict) -> dict[str, str]:
    values = {}
    for name, value in policy["values"].items():
        ends = policy["ci95"][name]
        values[name] = f"{value:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")
    return {"policy": policy["id"], **values, "n": str(policy["n"])}
