"""Speed of the hypervolume tools beside the engines they stand on. Program: python tests/bench/bench_front.py

Every pair is timed in one run, in turns, best of several, in processor time (all run on one core), so that other work on
the machine does not count; ours includes the validation gate. Optional peers (pygmo, paretoset) are timed where they are
installed. Writes reports/front/bench.json and bench.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import moocore
import numpy as np

from pareto.front import (
    engines,
    hypervolume,
    hypervolume_contributions,
    hypervolume_interval,
    non_dominated,
)
from pareto.rng import generator

OUT = Path(__file__).resolve().parents[2] / "reports" / "front"
Calls = dict[str, Callable[..., object]]


def sphere(n: int, m: int) -> np.ndarray:
    """[n, m] points on the positive unit sphere: all non-dominated."""
    points = np.abs(generator("bench", n, m).normal(size=(n, m)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def best_of(calls: Calls, seconds: float, *arguments: np.ndarray) -> dict[str, float]:
    """Least processor time of each call in seconds; they take turns, so that a busy moment hits all alike."""
    best = dict.fromkeys(calls, float("inf"))
    started, rounds = time.process_time(), 0
    while rounds < 2 or time.process_time() - started < seconds * len(calls):
        for name, call in calls.items():
            before = time.process_time()
            call(*arguments)
            best[name] = min(best[name], time.process_time() - before)
        rounds += 1
    return best


def row(what: str, m: int, n: int, times: dict[str, float], target: str, met: bool | None) -> dict:
    print(what, m, n, {k: f"{v * 1e3:.4g} ms" for k, v in times.items()}, target, met, flush=True)
    return {"what": what, "m": m, "n": n, "seconds": times, "target": target, "met": met}


def moocore_volume(points: np.ndarray, ref: np.ndarray) -> float:
    return moocore.hypervolume(points, ref=ref, maximise=True)


def moocore_shares(points: np.ndarray, ref: np.ndarray) -> np.ndarray:
    return moocore.hv_contributions(points, ref=ref, maximise=True)


def pygmo_shares(points: np.ndarray, ref: np.ndarray) -> np.ndarray:
    return engines.pygmo().hypervolume(-points).contributions(-ref)  # type: ignore[union-attr]


def moocore_mask(points: np.ndarray) -> np.ndarray:
    return moocore.is_nondominated(points, maximise=True, keep_weakly=True)


def paretoset_mask(points: np.ndarray) -> np.ndarray:
    from paretoset import paretoset

    return paretoset(points, sense=["max"] * points.shape[1], distinct=False)


def volumes(seconds: float) -> list[dict]:
    rows, calls = [], {"ours": hypervolume, "moocore": moocore_volume}
    for m in (2, 3, 4, 5):
        for n in (10, 100, 1000, 10_000):
            times = best_of(calls, seconds, sphere(n, m), np.zeros(m))
            met = times["ours"] <= max(1.1 * times["moocore"], times["moocore"] + 50e-6)
            rows.append(row("hypervolume", m, n, times, "1.1 x moocore or + 50 us", met))
    return rows


def many_objectives(seconds: float) -> list[dict]:
    fast = engines.pygmo() is not None
    calls: Calls = {"moocore": moocore_volume}
    if fast:
        calls["ours, pygmo installed"] = hypervolume
    rows = []
    for m, n in ((6, 1000), (9, 100)):
        times = best_of(calls, seconds, sphere(n, m), np.zeros(m))
        met = times["ours, pygmo installed"] * 5 <= times["moocore"] if fast else None
        rows.append(row("hypervolume", m, n, times, "5 x faster than moocore with pygmo", met))
    return rows


def shares(seconds: float) -> list[dict]:
    rows, calls = [], {"ours": hypervolume_contributions, "moocore": moocore_shares}
    for m, n in ((2, 10_000), (3, 10_000), (4, 300), (5, 100)):
        times = best_of(calls, seconds, sphere(n, m), np.zeros(m))
        rows.append(row("contributions", m, n, times, "beside moocore", None))
    calls = {"ours": hypervolume_contributions}
    if engines.pygmo() is not None:
        calls["pygmo"] = pygmo_shares
    times = best_of(calls, seconds, sphere(1000, 5), np.zeros(5))
    rows.append(
        row("contributions (moocore: > 20 s, not run)", 5, 1000, times, "0.5 s", times["ours"] <= 0.5)
    )
    return rows


def masks(seconds: float) -> list[dict]:
    peer = all(importlib.util.find_spec(name) is not None for name in ("paretoset", "numba"))
    rows = []
    for shape, m in (("cube", 2), ("cube", 3), ("cube", 5), ("sphere", 3)):
        points = generator("mask", m).random((1_000_000, m)) if shape == "cube" else sphere(1_000_000, m)
        calls: Calls = {"ours": non_dominated, "moocore": moocore_mask}
        if peer and shape == "cube":
            paretoset_mask(points[:1000])  # compiles
            calls["paretoset"] = paretoset_mask
        times = best_of(calls, seconds, points)
        goal = (shape, m) == ("cube", 3)
        limit = 0.2 if goal else 1.2 * times["moocore"]
        rows.append(row(f"mask, {shape}", m, 1_000_000, times, "0.2 s" if goal else "1.2 x moocore", times["ours"] <= limit))  # fmt: skip
    return rows


def intervals() -> list[dict]:
    scores = sphere(10, 3)[:, None] + 0.3 * generator("bench intervals").normal(size=(10, 200, 3))
    times = best_of({"ours": hypervolume_interval}, 1.0, scores, np.zeros(3))
    return [row("interval, 200 units x 1000 resamples", 3, 10, times, "2 s", times["ours"] <= 2)]


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def markdown(document: dict) -> str:
    machine = ", ".join(f"{k}: {v}" for k, v in document["machine"].items())
    lines = [
        "# Speed of the hypervolume tools",
        "",
        "Made by `python tests/bench/bench_front.py`; least processor time of several turns, in one run; ours with the validation gate.",
        "Points on the positive unit sphere (all non-dominated), cubes where said; reference point 0.",
        "",
        f"{machine}.",
        "",
        "| what | m | n | ms | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for r in document["rows"]:
        times = ", ".join(f"{k} {v * 1e3:.4g}" for k, v in r["seconds"].items())
        met = {True: "yes", False: "**no**", None: "-"}[r["met"]]
        lines.append(f"| {r['what']} | {r['m']} | {r['n']} | {times} | {r['target']} | {met} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="time spent on each call at least")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    rows = (
        volumes(args.seconds)
        + many_objectives(args.seconds)
        + shares(args.seconds)
        + masks(args.seconds)
        + intervals()
    )
    versions = {n: version(n) for n in ("numpy", "moocore", "pygmo", "paretoset", "numba")}
    machine = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load before and after": f"{load:.1f}, {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{k: v or "not installed" for k, v in versions.items()},
    }
    document = {"format": 1, "machine": machine, "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    (args.out / "bench.md").write_text(markdown(document))


if __name__ == "__main__":
    main()
