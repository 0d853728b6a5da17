"""How fast a population learns: `python tests/bench/bench_agents_speed.py`, one compute thread, CPU seconds.

Minecart, the settings of configs/minecart_cmorl.yaml: training steps per CPU-second (environment, acting and updates together)
for populations of several sizes, and what one update of six policies costs in updates of one, each policy with the same
steps, minibatches and epochs: the fastest of repetitions in alternation, since other programs only ever add. Throughput: medians. Writes reports/agents/speed/.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pareto.agents.aims import Weighted
from pareto.agents.learning import Learning, Networked, first_policies
from pareto.agents.ppo import PPOConfig
from pareto.state import atomic
from pareto.tasks.env import EnvTask

REPORT = Path("reports/agents/speed")
REPEATS = 7
UPDATES = 40


def learning(n: int, minibatch: int) -> Learning:
    """N policies on minecart, after two iterations of warming up."""
    config = PPOConfig(lr=2e-3, minibatch=minibatch)
    networked = Networked.of(EnvTask(id="minecart-v0"), config)
    weights = np.tile([[0.895, 0.1, 0.005]], (n, 1))
    found = Learning(
        networked,
        first_policies(networked, n, 0),
        Weighted(weights),
        config,
        max_episode_steps=150,
        window=64,
        seed=0,
        stage="bench",
    )
    for _ in range(2):
        found.step(100)
    return found


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def throughput(n: int) -> float:
    """Environment steps per CPU-second, learning included."""
    found = learning(n, 256)
    return float(
        np.median(
            [
                5 * found.steps_each / cpu_s(lambda: [found.step(100) for _ in range(5)])
                for _ in range(REPEATS)
            ]
        )
    )


def updates(minibatch: int, sizes: tuple[int, ...]) -> dict[int, float]:
    """CPU seconds of one update (all epochs of one rollout) for populations of several sizes, measured in alternation."""
    learners = {}
    for n in sizes:
        population = learning(n, minibatch).population
        collector = learning(n, minibatch).collector
        rollout = collector.collect(
            population.networks, population.views, population.scaler, 64, population.draw
        )
        aim = Weighted(np.tile([[0.895, 0.1, 0.005]], (n, 1)))
        learners[n] = (aim, population.learner, population._batch(rollout, aim))
        population.learner.lr = 1e-4
    times: dict[int, list[float]] = {n: [] for n in sizes}
    for _ in range(UPDATES):
        for n, (aim, learner, batch) in learners.items():
            times[n].append(cpu_s(lambda a=aim, x=learner, b=batch: a.improve(x, b)))
    return {n: min(t) for n, t in times.items()}


def main() -> None:
    torch.set_num_threads(1)
    rates = {n: throughput(n) for n in (1, 3, 6, 12)}
    costs = {minibatch: updates(minibatch, (1, 6)) for minibatch in (128, 256)}
    lines = [
        "# Speed of population training",
        "",
        "`python tests/bench/bench_agents_speed.py`: minecart, 16 copies x 64 steps a policy, 8 epochs, 64-64 tanh actors and critics, one",
        f"thread; medians of {REPEATS} for throughput, the fastest of {UPDATES} in alternation for updates. Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}.",
        "",
        "| policies | training steps per CPU-second |",
        "|---|---|",
        *(f"| {n} | {rate:,.0f} |" for n, rate in rates.items()),
        "",
        "| minibatch | update of one policy, CPU s | of six | ratio |",
        "|---|---|---|---|",
        *(f"| {b} | {c[1]:.3f} | {c[6]:.3f} | {c[6] / c[1]:.2f} |" for b, c in costs.items()),
        "",
    ]
    REPORT.mkdir(parents=True, exist_ok=True)
    atomic.write_text(REPORT / "speed.md", "\n".join(lines))
    atomic.write_json(
        REPORT / "speed.json",
        {
            "steps_per_cpu_s": rates,
            "update_s": costs,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
