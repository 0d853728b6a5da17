"""True environment steps per CPU second, training included: our population beside the learners of morl-baselines.

Run from the root of the checkout, with the extra `baselines` installed:
``OMP_NUM_THREADS=1 python tests/bench/bench_agents_library.py``. Writes reports/agents/library_speed/. Everything runs in this process, one
after the other and in turns of environments, so that all see the same machine; CPU time, not wall time. Every step that a
learner takes in its training environment counts for it; the time between two calls of the environment it evaluates itself in
does not. Our rows train six policies with the networks (64-64) and the settings that C-MORL starts with here, and with those
of configs/minecart_cmorl_fast.yaml; the library's learners keep their own defaults.
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

LONGER = {("pcn", "minecart-v0"): (20_000, 60_000)}
"""Where ten random episodes take up to ten thousand steps."""

FAST = PPOConfig(envs=128, steps=16, minibatch=512, epochs=3)
"""Fewer passes over rollouts of more copies, as in configs/minecart_cmorl_fast.yaml."""

PLACES = {
    "deep-sea-treasure-v0": (0.99, (0.0, -50.0), 60_000),
    "fruit-tree-v0": (0.99, (-1.0,) * 6, 60_000),
    "minecart-v0": (0.98, (-1.0, -1.0, -200.0), 90_000),
}
"""Environment -> discount, reference point, our steps."""


class Clock:
    """CPU time from one call of an environment to the end of the next where both are `aside`: evaluations."""

    def __init__(self):
        self.aside, self.begin, self.spent = False, 0.0, 0.0

    def called(self, aside):
        """A call of an environment is over."""
        now = time.process_time()
        if aside and self.aside:
            self.spent += now - self.begin
        self.aside, self.begin = aside, now


class Counted(gym.Wrapper):
    """Counts its steps, and tells the clock of each."""

    def __init__(self, env, clock, aside):
        super().__init__(env)
        self.taken, self._clock, self._aside = 0, clock, aside

    def step(self, action):
        self.taken += 1
        found = self.env.step(action)
        self._clock.called(self._aside)
        return found


def ours(env_id, gamma, steps, config):
    """Steps per CPU second of a population of six."""
    task = EnvTask(id=env_id, gamma=gamma)
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

    Its start-up and its random play before learning are in both and cancel; evaluations are taken off.
    """
    import mo_gymnasium

    made, place = [], 1 if name == "pcn" else 0  # pcn plays at random first, in an environment of its own

    def make():
        env = mo_gymnasium.make(env_id)
        limit = 1000 if env.spec.max_episode_steps is None else env.spec.max_episode_steps
        aside = len(made) > place
        made.append(Counted(gym.wrappers.TimeLimit(env, 20 if aside else limit), clock, aside))
        return made[-1]

    spent = []
    for steps in LONGER.get((name, env_id), STEPS[name]):
        made.clear()
        clock, begin = Clock(), time.process_time()
        train_library(name, Order(make, np.array(ref_point), gamma, steps, seed=0))
        spent.append((made[place].taken, time.process_time() - begin - clock.spent))
    (short, short_s), (long, long_s) = spent
    if long_s < 1.2 * short_s:
        raise SystemExit(
            f"{name} on {env_id}: {long} steps took {long_s:.1f} s and {short} took {short_s:.1f} s; its start-up outweighs its "
            "training, so give STEPS longer trainings"
        )
    return (long - short) / (long_s - short_s)


def table(rows):
    """The rows as Markdown."""
    names = list(STEPS)
    lines = [
        "| environment | ours, 6 policies | ours, fast settings | "
        + " | ".join(names)
        + " | ours / fastest | fast / fastest |",
        "|---|---|---|" + "---|" * len(names) + "---|---|",
    ]
    for env_id, row in rows.items():
        fastest = max(row[n] for n in names)
        cells = [f"{row[n]:,.0f}" for n in ("ours", "fast", *names)]
        cells += [f"{row[n] / fastest:.1f}" for n in ("ours", "fast")]
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
        "steps": STEPS | {f"{name} on {env_id}": steps for (name, env_id), steps in LONGER.items()},
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
        row = {"ours": ours(env_id, gamma, steps, PPOConfig()), "fast": ours(env_id, gamma, 6 * steps, FAST)}
        for name in STEPS:
            row[name] = theirs(name, env_id, gamma, ref_point)
            print(env_id, name, f"{row[name]:.0f}", file=sys.stderr)
        row["ours_again"] = ours(env_id, gamma, steps, PPOConfig())
        rows[env_id] = row
        write(rows, args.out)
    print(table(rows))


if __name__ == "__main__":
    main()
