"""Every hypervolume tool against an independent second way, and the table of bad input. Program: python tests/bench/bench_front_truth.py

1,008 random fronts for each tool (112 for each m = 1..9, or spread over the m for which it is defined): cubes, spheres, ties,
one flat objective, copies, points outside the reference point. The second ways are slow and obvious: sums over subsets,
loops, enumeration, quadrature by another algorithm, the dual of a linear program. Then every cell of the table of bad input:
nothing may crash, hang, or lose a good point. Writes reports/front/truth.json and truth.md; exits 1 where one does not agree.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import moocore
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the slow versions of the tests

from front_bad_input import table  # noqa: E402
from front_second_ways import CHECKS  # noqa: E402
from front_truth_page import markdown  # noqa: E402

from pareto import front as tools  # noqa: E402
from pareto.rng import generator  # noqa: E402
from pareto.simplex import sample  # noqa: E402
from tests.front import brute  # noqa: E402

OUT = ROOT / "reports" / "front"
FRONTS = 1008
TOLERANCE = 1e-9
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""points [n, m], reference front [k, m], reference point [m], weights of users [5, m]"""


def cases(what: str, objectives: tuple[int, ...]) -> Iterator[Case]:
    """Fronts of every shape, spread evenly over the numbers of objectives."""
    each = -(-FRONTS // len(objectives))
    for m in objectives:
        rng = generator("truth", what, m)
        for i in range(each):
            points = brute.random_points(rng, int(rng.integers(1, 8)), m, brute.KINDS[i % len(brute.KINDS)])
            front = brute.random_points(
                rng, int(rng.integers(1, 7)), m, brute.KINDS[(i // 6) % len(brute.KINDS)]
            )
            users = sample(m, 5, rng) if m > 1 else np.ones((5, 1))
            yield points, front, np.full(m, rng.choice([-0.5, 0.0, 0.25])), users


def check(name: str) -> dict:
    """The largest relative difference between a tool and its second way."""
    way, objectives, ours, theirs = CHECKS[name]
    worst, count, started = 0.0, 0, time.process_time()
    for case in cases(name, objectives):
        found, expected = (np.asarray(call(*case), dtype=float) for call in (ours, theirs))
        assert found.shape == expected.shape, name
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            # relative to the figure, or to the scale of the points where the figure itself is a difference near 0
            scale = np.maximum(np.abs(expected), 1e-2)
            apart = np.where(same, 0.0, np.abs(found - expected) / scale)
        worst, count = max(worst, float(np.max(apart, initial=0.0))), count + 1
    row = {"tool": name, "second_way": way, "m": f"{objectives[0]}-{objectives[-1]}", "fronts": count, "largest_relative_difference": worst, "agrees": bool(worst <= TOLERANCE)}  # fmt: skip
    print(f"{name}: {count} fronts, {worst:.1e} ({time.process_time() - started:.1f} s)", flush=True)
    return row


def estimates() -> list[dict]:
    """Figures that state an error: how often the truth, to within its own error, lies inside it."""
    rows = []
    for m in (4, 5, 6, 8):
        rng, inside = generator("truth of estimates", m), 0
        for i in range(24):
            points = brute.random_points(rng, 12, m, brute.KINDS[i % len(brute.KINDS)])
            estimate = tools.expected_utility_estimate(points)
            best = (sample(m, 200_000, rng) @ points.T).max(axis=1)
            spare = 3 * best.std() / math.sqrt(len(best))
            inside += abs(estimate.value - best.mean()) <= estimate.error + spare
        rows.append({"tool": "expected_utility_estimate", "against": "200,000 random weights", "m": m, "fronts": 24, "inside": int(inside)})  # fmt: skip
        inside = 0
        for i in range(24):
            points = brute.random_points(rng, 12, m, ("sphere", "cube")[i % 2])
            estimate = tools.hypervolume_estimate(points, 0.0, budget_s=-1.0)
            inside += abs(estimate.value - tools.hypervolume(points, 0.0)) <= estimate.error
        rows.append({"tool": "hypervolume_estimate", "against": "the exact volume", "m": m, "fronts": 24, "inside": int(inside)})  # fmt: skip
        print(rows[-2], rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(CHECKS), metavar="TOOL", help="measure these again, keep the rest"
    )
    only = parser.parse_args().only
    warnings.simplefilter("ignore", tools.QuarantineWarning)
    warnings.simplefilter("ignore", tools.OutsideReferenceWarning)
    before = json.loads((OUT / "truth.json").read_text()) if only else {"exact": []}
    rows = {row["tool"]: row for row in before["exact"]} | {name: check(name) for name in only or CHECKS}
    document = {
        "format": 1,
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "numpy": np.__version__, "moocore": moocore.__version__},
        "exact": [rows[name] for name in CHECKS if name in rows],
        "estimates": before["estimates"] if only else estimates(),
        "bad_input": before["bad_input"] if only else table(),
    }  # fmt: skip
    (OUT / "truth.json").write_text(json.dumps(document, indent=1) + "\n")
    (OUT / "truth.md").write_text(markdown(document, TOLERANCE))
    wrong = [r["tool"] for r in document["exact"] if not r["agrees"]]
    wrong += [f"{c['input']}, m = {c['m']}" for c in document["bad_input"] if c["broken"]]
    if wrong:
        sys.exit(f"not as it should be: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
