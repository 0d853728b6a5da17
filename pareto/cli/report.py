"""`pareto report`: one or several runs become one self-contained HTML page, JSON and CSV."""

from __future__ import annotations

import argparse
from pathlib import Path

from pareto.cli._study_arguments import add_offline_argument

HELP = "one or several runs -> one self-contained HTML page, JSON and CSV"
EXAMPLES = (
    "examples:\n"
    "  pareto report runs/demo\n"
    "  pareto report runs/modpo runs/soup --out comparison.html\n"
    "  pareto report runs/demo --require 'hypervolume>=3.0' --require 'optimality_heldout>=0.8'"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="run folder; several are compared with the first"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the .html to write (default: report.html in the run folder; ./report.html for several)",
    )
    parser.add_argument(
        "--publish",
        metavar="FOLDER",
        help="also write what is worth committing of one run: config, front, table, report.md, front.svg",
    )
    parser.add_argument(
        "--figures",
        metavar="FOLDER",
        help="also write the figures as .svg and .png files, for papers and READMEs; one folder a run where there are several",
    )
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="also figures that turn and zoom, from three objectives on; one page of some 5 MB, still without a request "
        "(needs the extra `interactive`)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="'INDICATOR>=X'",
        help="exit with code 4 unless every run meets this (>=, <=, >, <); may be given several times",
    )
    add_offline_argument(parser)


def run(args: argparse.Namespace) -> int:
    from pareto.errors import UsageError
    from pareto.front import Requirement
    from pareto.report import build, publish, read_runs, save
    from pareto.report.requirements import check
    from pareto.report.stills import write_stills
    from pareto.report.writing import page_path

    if args.publish and len(args.folders) != 1:
        raise UsageError(f"--publish takes one run folder; got {len(args.folders)}")
    requirements = [Requirement.parse(text) for text in args.require]
    target = page_path(args.folders, args.out)
    report = build([run for folder in args.folders for run in read_runs(folder)])
    path = save(report, target, args.interactive)
    for one in report.runs:
        print(f"{one.name}: {one.verdict.headline}")
        for flag in one.verdict.flags:
            print(f"  note: {flag}")
    if report.comparison is not None:
        print(report.comparison.verdict)
    print(f"report: {path}")
    if args.figures:
        for one in report.runs:
            folder = Path(args.figures) if len(report.runs) == 1 else Path(args.figures) / one.name
            print(f"figures: {', '.join(str(path) for path in write_stills(one, folder))}")
    if args.publish:
        print(f"published: {publish(args.folders[0], args.publish)}")
    check(report, requirements)  # after writing: who has to look into a failed gate has the report
    return 0
