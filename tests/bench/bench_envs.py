"""Speed of the environments in steps per CPU second of one core, beside MO-Gymnasium's of the same dynamics.

Run from the root of the checkout: ``OMP_NUM_THREADS=1 python tests/bench/bench_envs.py``. Writes bench.json and
bench.md. A step is one step of one copy with everything it takes: random draws, dynamics, observation, vector reward,
time limit and reset. Actions are uniformly random and drawn beforehand on both sides. CPU time, not wall time, so that
other work on the machine disturbs little; the best of the repeats stands, since all disturbance slows.
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

from pareto.env_loader import load_envs

COPIES = (16, 64, 256, 1024, 4096)


def best_rate(play, n_steps, seconds, repeats):
    """Steps per CPU second of `play()`, which takes `n_steps` steps; repeats last about `seconds` each."""
    rates = []
    for _ in range(repeats):
        begin, done = time.process_time(), 0
        while (spent := time.process_time() - begin) < seconds:
            play()
            done += n_steps
        rates.append(done / spent)
    return max(rates)


def batched(env_id, copies, budget):
    env = gym.make_vec(env_id, num_envs=copies)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(20)]

    def play():
        for a in actions:
            env.step(a)

    return best_rate(play, len(actions) * copies, *budget)


def single(env, budget):
    """A plain environment with its time limit, reset as it ends."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(200)]

    def play():
        for a in actions:
            _, _, terminated, truncated, _ = env.step(a)
            if terminated or truncated:
                env.reset()

    return best_rate(play, len(actions), *budget)


def measure(env_id, twins, budget):
    row = {"env": env_id, "single": single(gym.make(env_id), budget)}
    row |= {f"batched_{n}": batched(env_id, n, budget) for n in COPIES}
    if env_id in twins:
        import mo_gymnasium

        row |= {
            "mo_gymnasium_env": twins[env_id],
            "mo_gymnasium": single(mo_gymnasium.make(twins[env_id]), budget),
        }
        row["ratio_best"] = max(row[f"batched_{n}"] for n in COPIES) / row["mo_gymnasium"]
        row["ratio_256"] = row["batched_256"] / row["mo_gymnasium"]
    return row


def thousands(rate):
    return "-" if rate is None else f"{rate / 1e3:,.1f}" if rate < 1e5 else f"{rate / 1e3:,.0f}"


def table(report):
    head = [
        "env",
        "MO-Gymnasium",
        "ours, one copy",
        *(f"{n} copies" for n in COPIES),
        "ratio at 256",
        "ratio at best",
    ]
    lines = [
        "# Steps per CPU second of one core, in thousands",
        "",
        "    OMP_NUM_THREADS=1 python tests/bench/bench_envs.py",
        "",
        f"Random actions; a step includes random draws, reward vector, time limit and reset. {report['machine']}.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for row in report["rows"]:
        cells = [row["env"], thousands(row.get("mo_gymnasium")), thousands(row["single"])]
        cells += [thousands(row[f"batched_{n}"]) for n in COPIES]
        cells += [f"{row[key]:,.0f}x" if key in row else "-" for key in ("ratio_256", "ratio_best")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/envs"))
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="part of an id")
    args = parser.parse_args()
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    warnings.simplefilter("ignore")
    envs = load_envs()
    twins = sys.modules[f"{envs.__name__}.batched"].TWINS
    ids = sorted(
        i for i in gym.registry if i.startswith("pareto/") and args.only in i and "Offloading" not in i
    )
    rows = []
    for env_id in ids:
        rows.append(measure(env_id, twins, (args.seconds, args.repeats)))
        print(json.dumps(rows[-1]), flush=True)
    packages = ("numpy", "gymnasium", "mo-gymnasium")
    report = {
        "format": 1,
        "unit": "steps per CPU second of one core",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages),
        "rows": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    (args.out / "bench.md").write_text(table(report))


if __name__ == "__main__":
    main()
