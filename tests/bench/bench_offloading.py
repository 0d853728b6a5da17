"""Speed of the offloading environment, in decisions per CPU second of one core.

Run from the root of the checkout: ``OMP_NUM_THREADS=1 python tests/bench/bench_offloading.py``. Writes bench_env.json
and bench_env.md. A decision is one step of one copy with everything it takes: draws, dynamics, observation, resets.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import gymnasium as gym
import numpy as np

from envs.offloading import SYSTEMS, Offloading, OffloadingVector, register_envs
from envs.offloading.heuristics import Greedy

ROWS = [
    # name, system, copies
    ("batched, E = 6", "training-6", 256),
    ("batched, E = 6", "training-6", 64),
    ("batched, E = 6", "training-6", 1024),
    ("batched, E = 1", "training-1", 256),
    ("batched, E = 10", "training-10", 256),
    ("batched, E = 6, interference", "interference-6", 256),
]
TARGET = ("batched, E = 6", 256, 200_000)


def batched(system, copies, slots, repeats):
    """Decisions per CPU second under uniformly random servers, one figure per repeat."""
    vector = OffloadingVector(copies, config=system, max_episode_steps=100)
    vector.reset(seed=0)
    servers = SYSTEMS[system].system.servers
    actions = np.random.default_rng(0).integers(0, servers, (slots, copies))
    return rates(lambda: [vector.step(a) for a in actions], slots * copies, repeats)


def greedy(copies, slots, repeats):
    """The same, the servers chosen by the greedy rule, its time included."""
    vector, rule = OffloadingVector(copies, config="training-6", max_episode_steps=100), Greedy([[0.5, 0.5]])
    seen = [vector.reset(seed=0)[0]]

    def play():
        for _ in range(slots):
            seen[0] = vector.step(rule.act(seen[0]))[0]

    return rates(play, slots * copies, repeats)


def plain(slots, repeats):
    """One copy through the plain environment and gymnasium's time limit."""
    env = gym.wrappers.TimeLimit(Offloading(config="training-6"), 100)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 7, slots)

    def play():
        for a in actions:
            if env.step(a)[3]:
                env.reset()

    return rates(play, slots, repeats)


def rates(work, decisions, repeats):
    """Decisions per CPU second of each repeat; one more before them is thrown away."""
    figures = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        figures.append(decisions / (time.process_time() - start))
    return figures[1:]


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/agents/offloading"))
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    register_envs()
    rows = [(name, copies, batched(system, copies, 100, options.repeats)) for name, system, copies in ROWS]
    rows.append(("batched, E = 6, greedy choosing", 256, greedy(256, 100, options.repeats)))
    rows.append(("plain environment, E = 6", 1, plain(1000, min(5, options.repeats))))
    table = [
        {
            "what": name,
            "copies": copies,
            "best": round(max(figures)),
            "median": round(float(np.median(figures))),
            "worst": round(min(figures)),
        }
        for name, copies, figures in rows
    ]
    target = next(r for r in table if (r["what"], r["copies"]) == TARGET[:2])
    report = {
        "unit": "decisions per CPU second, one core",
        "target": TARGET[2],
        "reached": bool(target["median"] >= TARGET[2]),
        "rows": table,
        "repeats": options.repeats,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "gymnasium": gym.__version__,
        },
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench_env.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [
        "# Speed of `pareto/Offloading-v0`",
        "",
        f"Decisions per CPU second of one core, {options.repeats} repeats of 100 slots after one thrown away; random servers unless",
        f"said otherwise; observations and resets included. Load average during the run {report['load_average'][0]} on "
        f"{report['cpus']} CPUs.",
        f"Target: {TARGET[2]:,} with E = 6 and 256 copies; median {target['median']:,}.",
        "",
        "| what | copies | best | median | worst |",
        "|---|---:|---:|---:|---:|",
        *[
            f"| {r['what']} | {r['copies']} | {r['best']:,} | {r['median']:,} | {r['worst']:,} |"
            for r in table
        ],
        "",
        "`OMP_NUM_THREADS=1 python tests/bench/bench_offloading.py`",
    ]
    (options.out / "bench_env.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
