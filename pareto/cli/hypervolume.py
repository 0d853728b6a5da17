"""`pareto hypervolume`: indicators of any table of points, with no training involved."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas

    from pareto.front import Points
    from pareto.objectives import Objectives

HELP = "hypervolume and other indicators of any table of points"
EXAMPLES = """examples:
  pareto hypervolume leaderboard.csv --maximise win_rate --minimise avg_length --ref-point win_rate=0,avg_length=10000
  pareto hypervolume points.npz --ref-point 0,0 --require 'hypervolume>=3.1'
  pareto hypervolume points.csv --ref-point a=0,b=0 --id name --json > indicators.json

Rows with NaN, infinity or an empty cell are set aside and counted. Exit code 4: a requirement is not met."""

NAMES = ("hypervolume", "expected_utility", "cardinality", "sparsity", "spacing")
"""What is measured unless more is asked for: everything that numpy and moocore alone can do."""

SHOWN = 20
"""Rows of the front that are printed; --json has them all."""

ID_COLUMNS = ("id", "name", "")
"""Columns that name the rows unless --id says another; "" is the unnamed index that pandas writes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # "-1,-1" is a reference point, not an option
    parser._negative_number_matcher = re.compile(r"^-\.?\d")  # type: ignore[assignment]
    parser.add_argument("file", metavar="FILE", type=Path, help=".csv .tsv .json .jsonl .npz or .parquet")
    parser.add_argument(
        "--ref-point",
        required=True,
        metavar="A=0,B=9",
        help="worst values that still count, in the objectives' own directions; or numbers alone, in the order of the "
        "objectives (those of --maximise first)",
    )
    parser.add_argument("--maximise", action="append", default=[], metavar="A,B", help="columns to maximise")
    parser.add_argument("--minimise", action="append", default=[], metavar="C", help="columns to minimise")
    parser.add_argument(
        "--id", metavar="COLUMN", help="column that names the rows (default: id, name, or an unnamed one)"
    )
    parser.add_argument(
        "--indicator",
        action="append",
        default=[],
        metavar="NAME",
        help="further ones of `pareto list indicators`",
    )
    parser.add_argument(
        "--reference-front",
        type=Path,
        metavar="FILE",
        help="a table of the same columns, for indicators that need one",
    )
    parser.add_argument(
        "--budget-s",
        type=float,
        default=60.0,
        metavar="S",
        help="when the exact hypervolume is expected to take longer, approximate it with a stated error (default: 60)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="'INDICATOR>=X'",
        help="exit with code 4 unless this holds (>=, <=, >, <); may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    import json
    import warnings

    from pareto import front as tools
    from pareto.front.requirement import Requirement, check_requirements

    requirements = [Requirement.parse(text) for text in args.require]
    objectives, ref_point = _objectives(args)
    points = _points(args.file, objectives, args.id)
    front = None
    if args.reference_front is not None:
        truth = _points(args.reference_front, objectives, None)
        if len(truth.quarantined):
            print(f"{args.reference_front}: {len(truth.quarantined)} rows set aside", file=sys.stderr)
        front = objectives.orient(truth.values)
    directions = [o.direction for o in objectives]
    values = objectives.orient(points.values)
    with warnings.catch_warnings():
        # counted below, in words
        warnings.simplefilter("ignore", tools.OutsideReferenceWarning)
        names = [*NAMES, *(n for n in args.indicator if n not in NAMES)]
        figures = tools.indicators(
            values, ref_point, front, directions=directions, budget_s=args.budget_s, names=names
        )
        for name in args.indicator:
            if name not in figures:
                needs = ", ".join(tools.INDICATORS.get(name).needs)
                raise UsageError(
                    f"{name} cannot be computed here: it needs {needs or 'other points'}, or takes too long"
                )
        figures["quarantined"] = float(len(points.quarantined))
        marked = tools.non_dominated(values, directions)
        shares = _shares(values, ref_point, directions, len(points))
    shown = (args, objectives, ref_point, points, figures, marked, shares)
    try:
        if args.json:
            print(json.dumps(_document(*shown), indent=1))
        else:
            _print(*shown)
    finally:  # a gate also counts when nobody reads to the end
        check_requirements(figures, requirements)
    return 0


def _objectives(args: argparse.Namespace) -> tuple[Objectives, np.ndarray]:
    """Objectives in the order maximised, minimised, and the reference point in that order."""
    import numpy as np

    from pareto.objectives import Objective, Objectives

    named = [Objective(name, "max") for name in _names(args.maximise)]
    named += [Objective(name, "min") for name in _names(args.minimise)]
    if "=" in args.ref_point:
        from pareto.cli._numbers import named_numbers

        try:
            numbers = named_numbers(args.ref_point)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--ref-point: {error}") from error
        objectives = Objectives(named or numbers)
        return objectives, objectives.vector(numbers)
    try:
        ref_point = np.array([float(x) for x in args.ref_point.split(",")])
    except ValueError as error:
        raise UsageError(
            f"--ref-point: expected numbers such as 0,0 or a=0,b=9; got {args.ref_point!r}"
        ) from error
    if not np.isfinite(ref_point).all():
        raise UsageError(f"--ref-point must be finite; got {args.ref_point!r}")
    if not named:
        named = [Objective(name) for name in _columns(args.file, len(ref_point))]
    if len(named) != len(ref_point):
        raise UsageError(
            f"--ref-point needs {len(named)} numbers ({', '.join(o.name for o in named)}); got {len(ref_point)}"
        )
    return Objectives(named), ref_point


def _names(lists: list[str]) -> list[str]:
    return [name.strip() for text in lists for name in text.split(",") if name.strip()]


def _columns(path: Path, m: int) -> list[str]:
    """The columns of numbers, when exactly m of them leave no doubt which are meant."""
    if path.suffix.lower() == ".npz":
        return [f"objective {j}" for j in range(m)]  # an array "values" [n, m]
    from pareto.data.bad_rows import BadRows
    from pareto.data.files import read_rows

    first = next(iter(read_rows(path, BadRows("stop"))), (0, {}))[1]
    columns = [name for name, cell in first.items() if _is_number(cell)]
    if len(columns) != m:
        raise UsageError(
            f"{path}: name the objectives with --maximise and --minimise: the reference point has {m} numbers "
            f"but the columns of numbers are {', '.join(columns) or 'none'}"
        )
    return columns


def _is_number(cell: Any) -> bool:
    if isinstance(cell, bool) or cell is None:
        return False
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _points(path: Path, objectives: Objectives, id_column: str | None) -> Points:
    from pareto.cli._table import read_table
    from pareto.front import admit

    table = read_table(path, objectives.names, words=ID_COLUMNS if id_column is None else [id_column])
    return admit(table, ids=_ids(path, table, id_column), objectives=objectives)


def _ids(path: Path, table: pandas.DataFrame, id_column: str | None) -> list[str]:
    if id_column is not None and id_column not in table:
        raise DataError(f"{path}: there is no column {id_column!r} to name the rows by (--id)")
    for column in ID_COLUMNS if id_column is None else [id_column]:
        if column in table:
            return [f"{name} (line {line})" for line, name in table[column].items()]
    return [f"line {line}" for line in table.index]


def _shares(values: np.ndarray, ref_point: np.ndarray, directions: list[str], n: int) -> np.ndarray | None:
    """Contributions, where they are to be had in the time that people wait."""
    from pareto.front import hypervolume_contributions
    from pareto.front.approximation import expected_seconds

    if n * expected_seconds(n, values.shape[1]) > 60.0 and values.shape[1] > 3:
        return None
    return hypervolume_contributions(values, ref_point, directions)


def _document(
    args: argparse.Namespace,
    objectives: Objectives,
    ref_point: np.ndarray,
    points: Points,
    figures: dict[str, float],
    marked: np.ndarray,
    shares: np.ndarray | None,
) -> dict[str, Any]:
    import math

    values = objectives.orient(points.values)
    return {
        "format": 1,
        "file": str(args.file),
        "objectives": objectives.to_json(),
        "ref_point": ref_point.tolist(),
        "indicators": {k: v if math.isfinite(v) else None for k, v in figures.items()},
        "points": [
            {
                "id": str(points.ids[i]),
                "values": objectives.named(values[i]),
                "non_dominated": bool(marked[i]),
                "hypervolume_contribution": None if shares is None else float(shares[i]),
            }
            for i in range(len(points))
        ],
        "quarantined": [{"id": name, "why": why} for name, why in points.quarantined],
    }


def _print(
    args: argparse.Namespace,
    objectives: Objectives,
    ref_point: np.ndarray,
    points: Points,
    figures: dict[str, float],
    marked: np.ndarray,
    shares: np.ndarray | None,
) -> None:
    senses = ", ".join(f"{o.name} {o.direction}" for o in objectives)
    reference = ", ".join(f"{k}={v:.6g}" for k, v in objectives.named(ref_point).items())
    print(f"{args.file}: {len(points)} points ({senses}), reference point {reference}")
    print(
        f"{int(marked.sum())} of {len(points)} not dominated, "
        f"{figures['outside_ref_point']:.0f} not better than the reference point, {len(points.quarantined)} set aside"
    )
    for name, why in points.quarantined[:SHOWN]:
        print(f"  set aside: {name} ({why})")
    if len(points.quarantined) > SHOWN:
        print(f"  set aside: {len(points.quarantined) - SHOWN} more; --json has them all")
    for name, figure in figures.items():
        if name not in ("n", "quarantined", "outside_ref_point") and not name.endswith("_error"):
            error = figures.get(f"{name}_error")
            print(f"{name:24s} {figure:.10g}" + (f"  +- {error:.2g} (approximate, 95 %)" if error else ""))
    _print_front(objectives, points, marked, shares)


def _print_front(
    objectives: Objectives, points: Points, marked: np.ndarray, shares: np.ndarray | None
) -> None:
    values = objectives.orient(points.values)
    rows = sorted((i for i in range(len(points)) if marked[i]), key=lambda i: tuple(-points.values[i]))
    cells = [["not dominated", *objectives.names, "contribution"]] + [
        [str(points.ids[i]), *(f"{x:.6g}" for x in values[i]), "?" if shares is None else f"{shares[i]:.6g}"]
        for i in rows[:SHOWN]
    ]
    widths = [max(len(row[j]) for row in cells) for j in range(len(cells[0]))]
    for row in cells:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]))
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more; --json has them all")
