"""True environment steps per CPU second, training included: our population beside the learners of morl-baselines.

Run from the root of the checkout, with the extra `baselines` installed:
``OMP_NUM_THREADS=1 python tests/bench/bench_agents.py``. Writes reports/agents/speed/. Everything runs in this process, one
after the other and in turns of environments, so that all see the same machine; CPU time, not wall time. Every step that a
learner takes in any environment counts for it, those of its own evaluations included. Our row trains six policies with the
networks (64-64) and the settings that C-MORL starts with here; the library's learners keep their own defaults.
"""

import argparse
import json
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import numpy as np

from pareto import simplex
from pareto.agents.aims import Weighted
from pareto.agents.learning import Learning, Networked, first_policies
from pareto.agents.library import LIBRARY, Order, train_library
from pareto.agents.ppo import PPOConfig
from pareto.tasks.env import EnvTask

STEPS = {"pcn": 1500, "envelope_library": 400, "gpi_ls": 300, "morl_d": 2500}
"""Environment steps asked of each learner: enough for its steady pace, seconds of it."""

PLACES = {
    "minecart-v0": (0.98, (-1.0, -1.0, -200.0), 300_000),
    "deep-sea-treasure-v0": (0.99, (0.0, -50.0), 200_000),
    "fruit-tree-v0": (0.99, (-1.0,) * 6, 200_000),
}
"""Environment -> discount, reference point, our steps."""


class Counted(gym.Wrapper):
    """Counts all steps of all copies."""

    total = 0

    def step(self, action):
        Counted.total += 1
        return self.env.step(action)


def ours(env_id, gamma, steps):
    """Steps per CPU second of a population of six."""
    task = EnvTask(id=env_id, gamma=gamma)
    config = PPOConfig()
    networked = Networked.of(task, config)
    m = len(task.objectives)
    lattice = simplex.das_dennis(m, 5 if m == 2 else 2 if m == 3 else 1)[:6]
    learning = Learning(
        networked,
        first_policies(networked, 6, 0),
        Weighted(lattice),
        config,
        max_episode_steps=None,
        window=64,
        seed=0,
        stage="bench",
    )
    total = learning.iterations(steps)
    learning.step(total)  # compiles and warms up
    begin, before = time.process_time(), learning.steps
    while learning.done < total:
        learning.step(total)
    return (learning.steps - before) / (time.process_time() - begin)


def theirs(name, env_id, gamma, ref_point):
    """Steps per CPU second of a learner of the library."""
    import mo_gymnasium

    def make():
        env = mo_gymnasium.make(env_id)
        limited = env if env.spec.max_episode_steps is not None else gym.wrappers.TimeLimit(env, 1000)
        return Counted(limited)

    Counted.total = 0
    order = Order(make, np.array(ref_point), gamma, STEPS[name], seed=0)
    begin = time.process_time()
    train_library(name, order)
    return Counted.total / (time.process_time() - begin)


def table(rows):
    """The rows as Markdown."""
    names = list(STEPS)
    lines = [
        "| environment | ours, 6 policies | " + " | ".join(names) + " | ours / fastest |",
        "|---|---|" + "---|" * len(names) + "---|",
    ]
    for env_id, row in rows.items():
        cells = [f"{row['ours']:,.0f}", *(f"{row[n]:,.0f}" for n in names), f"{row['ratio']:.0f}"]
        lines.append(f"| {env_id} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/agents/speed"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    for name in STEPS:
        LIBRARY.get(name)
    import morl_baselines.multi_policy.envelope.envelope
    import morl_baselines.multi_policy.gpi_pd.gpi_pd
    import morl_baselines.multi_policy.morld.morld
    import morl_baselines.multi_policy.pcn.pcn  # noqa: F401  # importing is not what is measured

    rows = {}
    for env_id, (gamma, ref_point, steps) in PLACES.items():
        row = {"ours": ours(env_id, gamma, steps)}
        for name in STEPS:
            row[name] = theirs(name, env_id, gamma, ref_point)
            print(env_id, name, f"{row[name]:.0f}", file=sys.stderr)
        row["ours_again"] = ours(env_id, gamma, steps)
        row["ratio"] = row["ours"] / max(row[name] for name in STEPS)
        rows[env_id] = row
    packages = ("torch", "numpy", "gymnasium", "mo-gymnasium", "morl-baselines")
    facts = {
        "unit": "true environment steps per CPU second, training included",
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load": os.getloadavg(),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in packages},
        "steps": STEPS,
        "rows": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "speed.json").write_text(json.dumps(facts, indent=1) + "\n")
    head = "# Training speed beside morl-baselines\n\nSteps per CPU second; `python tests/bench/bench_agents.py` writes this page.\n\n"
    tail = (
        f"\n\nLoad of the machine while measuring: {facts['load'][0]:.1f} on {facts['cpus']} cores; ours before and after: "
        + ", ".join(f"{row['ours']:,.0f} and {row['ours_again']:,.0f}" for row in rows.values())
    )
    (args.out / "README.md").write_text(head + table(rows) + tail + ".\n")
    print(table(rows))


if __name__ == "__main__":
    main()
