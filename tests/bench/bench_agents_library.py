"""True environment steps per CPU second, training included: our population beside the learners of morl-baselines.

Run from the root of the checkout, with the extra `baselines` installed:
``OMP_NUM_THREADS=1 python tests/bench/bench_agents_library.py``. Writes reports/agents/library_speed/. Everything runs in this process, one
after the other and in turns of environments, so that all see the same machine; CPU time, not wall time. Every step that a
learner takes in its training environment counts for it. Our row trains six policies with the networks (64-64) and the settings
that C-MORL starts with here; the library's learners keep their own defaults.
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

STEPS = {
    "pcn": (2000, 10_000),
    "morl_d": (4000, 12_000),
    "envelope_library": (200, 800),
    "gpi_ls": (150, 450),
}
"""Environment steps of a short and of a long training of each learner, both beyond the random play that some begin with;
what the longer one took more is its pace. Some minutes of an idle core in all."""

PLACES = {
    "deep-sea-treasure-v0": (0.99, (0.0, -50.0), 60_000),
    "fruit-tree-v0": (0.99, (-1.0,) * 6, 60_000),
    "minecart-v0": (0.98, (-1.0, -1.0, -200.0), 90_000),
}
"""Environment -> discount, reference point, our steps."""


class Counted(gym.Wrapper):
    """Counts its steps."""

    def __init__(self, env):
        super().__init__(env)
        self.taken = 0

    def step(self, action):
        self.taken += 1
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
    """Training steps per CPU second of a learner of the library, between a short and a long training.

    Its start-up, its random play before learning and the evaluations it makes at the ends are in both and cancel.
    """
    import mo_gymnasium

    made = []

    place = 1 if name == "pcn" else 0  # pcn plays at random first, in an environment of its own

    def make():
        env = mo_gymnasium.make(env_id)
        limit = 1000 if env.spec.max_episode_steps is None else env.spec.max_episode_steps
        # what it evaluates itself in is cut short: evaluations are no training
        made.append(Counted(gym.wrappers.TimeLimit(env, limit if len(made) <= place else 20)))
        return made[-1]

    spent = []
    for steps in STEPS[name]:
        made.clear()
        begin = time.process_time()
        train_library(name, Order(make, np.array(ref_point), gamma, steps, seed=0))
        spent.append((made[place].taken, time.process_time() - begin))
    (short, short_s), (long, long_s) = spent
    if long_s < 1.2 * short_s:
        raise SystemExit(
            f"{name} on {env_id}: {long} steps took {long_s:.1f} s and {short} took {short_s:.1f} s; its evaluations outweigh its "
            "training, so give STEPS longer trainings"
        )
    return (long - short) / (long_s - short_s)


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


def write(rows, out):
    """What was measured so far, as JSON and as a page."""
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
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(facts, indent=1) + "\n")
    head = "# Training speed beside morl-baselines\n\nSteps per CPU second; `python tests/bench/bench_agents_library.py` writes this page.\n\n"
    tail = (
        f"\n\nLoad of the machine while measuring: {facts['load'][0]:.1f} on {facts['cpus']} cores; ours before and after: "
        + ", ".join(f"{row['ours']:,.0f} and {row['ours_again']:,.0f}" for row in rows.values())
    )
    (out / "speed.md").write_text(head + table(rows) + tail + ".\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/agents/library_speed"))
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
    theirs("morl_d", "deep-sea-treasure-v0", *PLACES["deep-sea-treasure-v0"][:2])  # what is slow once only
    for env_id, (gamma, ref_point, steps) in PLACES.items():
        row = {"ours": ours(env_id, gamma, steps)}
        for name in STEPS:
            row[name] = theirs(name, env_id, gamma, ref_point)
            print(env_id, name, f"{row[name]:.0f}", file=sys.stderr)
        row["ours_again"] = ours(env_id, gamma, steps)
        row["ratio"] = row["ours"] / max(row[name] for name in STEPS)
        rows[env_id] = row
        write(rows, args.out)
    print(table(rows))


if __name__ == "__main__":
    main()
