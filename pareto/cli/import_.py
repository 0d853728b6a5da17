"""`pareto import`: results made elsewhere become a run folder, so that they join reports."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.cli._numbers import named_numbers
from pareto.errors import DataError, SimplexError, UsageError

if TYPE_CHECKING:
    import pandas

    from pareto.cells import WeightsKind
    from pareto.objectives import Objectives

HELP = "turn a table of points made elsewhere into a run folder that joins reports"
EXAMPLES = """examples:
  pareto import results.csv --objectives reward:max,energy:min --out runs/theirs
  pareto report runs/mine runs/theirs

Columns: one per objective, and where they are there `id`, `seed`, `weight_<objective>`, `ci95_low_<objective>` and
`ci95_high_<objective>`, and `kl_nats`, the KL to the reference policy, by which reports compare at equal KL. Rows with NaN
or infinity are set aside and named in the run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help=".csv .tsv .json .jsonl .npz or .parquet")
    parser.add_argument("--objectives", required=True, metavar="A:max,B:min", help="columns and directions")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="new run folder")
    parser.add_argument("--study", metavar="NAME", help="name in reports (default: name of the file)")
    parser.add_argument("--method", metavar="NAME", help="what made the points (default: none)")
    parser.add_argument(
        "--ref-point",
        type=named_numbers,
        metavar="A=0,B=9",
        help="default: nadir of the best points of each objective, less a tenth of their range",
    )
    parser.add_argument(
        "--cost",
        type=named_numbers,
        metavar="train_tokens=1e6",
        help="what all of it cost, by which reports compare at equal cost (default: not known)",
    )


def run(args: argparse.Namespace) -> int:
    from pareto.cli._table import read_table
    from pareto.objectives import Objectives
    from pareto.policy_set import load
    from pareto.state import atomic, manifest
    from pareto.study.front_json import front_csv
    from pareto.study.layout import UNLISTED

    objectives = Objectives.parse(args.objectives)
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UsageError(f"--out must be a new or an empty folder; {args.out} holds something")
    weights = [f"weight_{name}" for name in objectives.names]
    ends = [f"ci95_{end}_{name}" for name in objectives.names for end in ("low", "high")]
    table = read_table(
        args.file, objectives.names, optional=["seed", "kl_nats", *weights, *ends], words=["id"]
    )
    front = _front(args, objectives, table)
    with atomic.staged_folder(args.out) as folder:
        atomic.write_json(folder / "front.json", front)
        atomic.write_text(folder / "front.csv", front_csv(front))
        manifest.write(folder, UNLISTED)
    loaded = load(args.out)
    print(f"{args.out}: {len(loaded)} points, {len(loaded.front())} of them not dominated")
    for row in front["quarantined"]:
        print(f"set aside: {row['id']} ({row['why']})")
    print(f"hypervolume {front['indicators']['hypervolume']:.6g} against {front['ref_point']}")
    return 0


def _front(args: argparse.Namespace, objectives: Objectives, table: pandas.DataFrame) -> dict[str, Any]:
    """The content of front.json."""
    import warnings

    from pareto import front as tools
    from pareto.front.reference_point import RULE
    from pareto.study.front_json import content_sha256
    from pareto.study.scores import plain

    ids = _ids(args.file, table)
    points = tools.admit(table, ids=ids, objectives=objectives)
    if not len(points):
        raise DataError(
            f"{args.file}: expected at least one row with finite {', '.join(objectives.names)}; got none"
        )
    if args.ref_point is None:  # the best point of each objective stands for its corner
        ref_point = objectives.orient(tools.nadir_reference(points.values[points.values.argmax(axis=0)]))
    else:
        ref_point = objectives.vector(args.ref_point)
    oriented = objectives.orient(ref_point)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tools.OutsideReferenceWarning)  # counted in the indicators
        figures = tools.indicators(points.values, oriented)
        shares = tools.hypervolume_contributions(points.values, oriented)
    cost, (weights, kind) = _cost(args.cost), _weights(args.file, table, objectives)
    best = tools.non_dominated(points.values)
    rows = [i for i, kept in enumerate(points.kept) if kept]
    policies = [
        {
            "id": ids[i],
            "seed": _seed(args.file, table, i),
            "weights": weights[i],
            "weights_kind": kind,
            "values": objectives.named(objectives.orient(values)),
            "ci95": {name: _interval(table, i, name) for name in objectives.names},
            "n": None,
            "split": None,
            "selection": None,
            "groups": None,
            "non_dominated": bool(is_best),
            "hypervolume_contribution": float(share),
            "kl_nats": _kl(args.file, table, i),
            **dict.fromkeys(("kl_to_exact_nats", "optimality", "text")),
            "kind": "imported",
            "files": {},
        }
        for i, values, is_best, share in zip(rows, points.values, best, shares, strict=True)
    ]
    counts = {k: int(figures[k]) for k in ("cardinality", "outside_ref_point")}
    front = {
        "format": 1,
        "study": args.study or args.file.stem,
        "task": None,
        "method": args.method,
        "context": None,
        "objectives": objectives.to_json(),
        "ref_point": ref_point.tolist(),
        "ref_point_rule": RULE if args.ref_point is None else "given",
        "policies": policies,
        "indicators": plain({k: v for k, v in figures.items() if k not in ("n", "quarantined")} | counts),
        "exact": None,
        "quarantined": [{"id": name, "why": why} for name, why in points.quarantined],
        "failed": [],
        "cost": cost,
        "provenance": _provenance(args.file),
    }
    front["provenance"]["content_sha256"] = content_sha256(front)
    return front


def _ids(file: Path, table: pandas.DataFrame) -> list[str]:
    from pareto.policy_record import POLICY_ID

    if "id" not in table:
        return [f"p{i:04d}" for i in range(len(table))]
    ids = [str(name) for name in table["id"]]
    for line, name in zip(table.index, ids):
        if not POLICY_ID.fullmatch(name):
            raise DataError(
                f"{file}:{line}: expected an id of letters, digits, dot, dash, underscore; got {name!r:.80}"
            )
        if ids.count(name) > 1:
            raise DataError(f"{file}:{line}: ids must be unique; {name!r} comes {ids.count(name)} times")
    return ids


def _seed(file: Path, table: pandas.DataFrame, i: int) -> int:
    seed = table["seed"].iloc[i] if "seed" in table else 0.0
    if not float(seed).is_integer():
        raise DataError(f"{file}:{table.index[i]}: seed: expected a whole number; got {seed}")
    return int(seed)


def _weights(
    file: Path, table: pandas.DataFrame, objectives: Objectives
) -> tuple[list[dict[str, float] | None], WeightsKind]:
    """Requested weights of each row, None where it has none, and their kind; negative ones make it directions."""
    import numpy as np

    from pareto import simplex

    columns = [f"weight_{name}" for name in objectives.names]
    if any(column not in table for column in columns):
        return [None] * len(table), "simplex"
    weights = table[columns].to_numpy(dtype=np.float64)
    kind = "direction" if (weights < 0).any() else "simplex"
    found: list[dict[str, float] | None] = []
    for line, row in zip(table.index, weights):
        try:
            check = simplex.check_direction if kind == "direction" else simplex.check
            found.append(None if np.isnan(row).all() else objectives.named(check(row)))
        except SimplexError as error:
            raise DataError(f"{file}:{line}: {', '.join(columns)}: {error}") from error
    return found, kind


def _interval(table: pandas.DataFrame, i: int, name: str) -> list[float] | None:
    """Both ends of a value's interval; None where one is not known."""
    import math

    columns = [f"ci95_{end}_{name}" for end in ("low", "high")]
    if any(column not in table for column in columns):
        return None
    ends = [float(table[column].iloc[i]) for column in columns]
    return ends if all(math.isfinite(x) for x in ends) else None


def _kl(file: Path, table: pandas.DataFrame, i: int) -> float | None:
    """KL to the reference policy, nats; None where it is not known."""
    import math

    kl = float(table["kl_nats"].iloc[i]) if "kl_nats" in table else math.nan
    if kl < 0 or math.isinf(kl):
        raise DataError(f"{file}:{table.index[i]}: kl_nats: expected a number >= 0, or nothing; got {kl}")
    return None if math.isnan(kl) else kl


def _cost(stated: dict[str, float] | None) -> dict[str, Any]:
    """What all of it cost; what is not stated is not known here, and counted as nothing."""
    from dataclasses import asdict

    from pareto.cells import Cost
    from pareto.errors import did_you_mean

    cost: dict[str, Any] = asdict(Cost())
    for name, amount in (stated or {}).items():
        if name not in cost:
            raise UsageError(f"--cost: no cost {name!r}{did_you_mean(name, cost)}; known: {', '.join(cost)}")
        if amount < 0:
            raise UsageError(f"--cost: expected {name} >= 0; got {amount:g}")
        cost[name] = amount if name.endswith(("_s", "_mb")) else round(amount)
    return cost


def _provenance(file: Path) -> dict[str, Any]:
    import datetime
    import platform

    import pareto
    from pareto.state import manifest

    return {
        "source": file.name,
        "source_sha256": manifest.sha256(file),
        "config_sha256": None,
        "versions": {"pareto-align": pareto.__version__},
        "platform": platform.platform(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
