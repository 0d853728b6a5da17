"""A trained dispatcher beside the rules, on held-out episodes: hypervolume at the frozen reference points, with intervals.

    pareto sweep configs/offloading_gmorl.yaml --out runs/offloading_gmorl
    python tests/bench/offloading_study.py runs/offloading_gmorl

Every policy plays 101 preferences on the same episodes, whose seeds neither training nor calibration has seen. Every
(system, policy) is a file in runs/offloading_study; a stopped run goes on where it stopped. Writes study.json, study.md
and study.svg into reports/agents/offloading. Intervals are of 1,000 resamples of whole episodes, the same for all
policies of a system, so that ratios are paired.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import pareto
from envs.offloading import SYSTEMS, linucb, present
from envs.offloading.frozen import ref_points
from envs.offloading.heuristics import Greedy, Random, Rule
from envs.offloading.play import preference_costs
from pareto.front import hypervolume
from pareto.report import canvas

ROOT = Path(__file__).resolve().parents[2]
SEED, RESAMPLES = 8_000_000, 1000
PREFERENCES = np.column_stack([np.linspace(0, 1, 101), np.linspace(1, 0, 101)])
NAMES = {"random": "random", "linucb": "LinUCB", "greedy": "greedy", "gmorl": "GMORL"}
MIX = 21  # preferences at which the servers chosen are counted


class Dispatched(Rule):
    """A trained dispatcher as a rule."""

    def __init__(self, actor, preferences):
        self.actor, self.preferences = actor, preferences

    def act(self, observations):
        return self.actor.choose(observations, self.preferences)


def rules(actor, config):
    """Name -> function that makes a rule from the index of each copy's preference."""
    coefficients = linucb.fit(
        PREFERENCES, config.model_copy(update={"histogram_bins": 1}), seed=SEED - 500_000
    )
    return {
        "random": lambda i: Random(PREFERENCES[i, 0], SEED),
        "linucb": lambda i: linucb.Linear(coefficients[i]),
        "greedy": lambda i: Greedy(PREFERENCES[i]),
        "gmorl": lambda i: Dispatched(actor, PREFERENCES[i]),
    }


def measured(scratch, name, actor, episodes, key):
    """Policy -> [101, K, 2] costs on one system, and the CPU seconds that took."""
    config, costs = SYSTEMS[name], {}
    makers = None
    for policy in NAMES:
        path = scratch / f"{name}-{policy}-{episodes}{key if policy == 'gmorl' else ''}.npy"
        if not path.exists():
            makers = makers or rules(actor, config)
            lean = config if policy == "gmorl" else config.model_copy(update={"histogram_bins": 1})
            begin = time.process_time()
            found = preference_costs(makers[policy], 101, lean, range(SEED, SEED + episodes))
            np.save(path, found.astype(np.float32))
            print(f"{path.stem}: {time.process_time() - begin:.0f} CPU s", flush=True)
        costs[policy] = np.load(path, allow_pickle=False).astype(np.float64)
    return costs


def compared(config, costs):
    """Hypervolumes at each reference point, their ratios to the greedy rule's, and intervals of both."""
    draw, k = np.random.default_rng(0), next(iter(costs.values())).shape[1]
    samples = draw.integers(k, size=(RESAMPLES, k))
    rows = {}
    for kind, point in ref_points(config).items():
        point = np.array(point)

        def volume(c, which=None, point=point):
            return hypervolume(-(c if which is None else c[:, which]).mean(axis=1), point)

        whole = {p: volume(c) for p, c in costs.items()}
        drawn = {p: np.array([volume(c, s) for s in samples]) for p, c in costs.items()}
        rows[kind] = {
            p: {
                "hypervolume": whole[p],
                "ci95": np.quantile(drawn[p], [0.025, 0.975]).tolist(),
                "to_greedy": whole[p] / whole["greedy"],
                "to_greedy_ci95": np.quantile(drawn[p] / drawn["greedy"], [0.025, 0.975]).tolist(),
            }
            for p in costs
        }
    return rows


def server_mix(actor, config, episodes):
    """[MIX, S] share of the tasks that each server gets at each preference."""
    from envs.offloading import OffloadingVector

    some = PREFERENCES[np.linspace(0, 100, MIX).astype(int)]
    weights = np.repeat(some, episodes, axis=0)
    vector = OffloadingVector(len(weights), config=config)
    seen, _ = vector.reset(seed=list(range(SEED, SEED + episodes)) * MIX)
    counts = np.zeros((len(weights), present(seen).shape[1]))
    for _ in range(100):
        chosen = actor.choose(seen, weights)
        counts[np.arange(len(weights)), chosen] += seen[:, 0, 0] > 0
        seen, *_ = vector.step(chosen)
    counts = counts.reshape(MIX, episodes, -1).sum(axis=1)
    return some[:, 0], counts / counts.sum(axis=1, keepdims=True)


def picture(costs, mix, path):
    """Fronts of all policies with intervals, and how the servers chosen move with the preference."""
    with canvas.theme():
        drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
        FigureCanvasSVG(drawn)
        left, right = drawn.subplots(1, 2)
        for i, (policy, c) in enumerate(costs.items()):
            mean = c.mean(axis=1)
            error = 1.96 * c.std(axis=1, ddof=1) / np.sqrt(c.shape[1])
            left.errorbar(
                mean[:, 0], mean[:, 1], error[:, 1], error[:, 0], fmt=canvas.MARKERS[i], ms=3, lw=0.6,
                color=canvas.RUNS[i], label=NAMES[policy],
            )  # fmt: skip
        left.set(xlabel="delay of all tasks, s", ylabel="energy, J", xscale="log")
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.legend(frameon=False)
        weights, shares = mix
        base = np.zeros(len(weights))
        for server in range(shares.shape[1]):
            label = "cloud" if server == 0 else ("edge servers" if server == 1 else None)
            colour = canvas.RUNS[0] if server == 0 else canvas.RUNS[1]
            right.fill_between(
                weights,
                base,
                base + shares[:, server],
                color=colour,
                alpha=1 - 0.1 * server,
                lw=0,
                label=label,
            )
            base += shares[:, server]
        right.set(xlabel="weight of delay", ylabel="share of tasks", xlim=(0, 1), ylim=(0, 1))
        right.legend(frameon=False)
        drawn.savefig(path, metadata={"Date": None})


def write(out, rows, run):
    facts = {"run": run, "preferences": 101, "resamples": RESAMPLES, "systems": rows}
    (out / "study.json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [
        "# A dispatcher for every preference and every edge system",
        "",
        "Written by `python tests/bench/offloading_study.py`; no figure is edited by hand. Trained by "
        f"[config.yaml](config.yaml) in {run['env_steps']:,} decisions and {run['wall_s']:,.0f} s of a machine shared with other "
        f"work. 101 preferences on {run['episodes']} held-out episodes each; the reference points were frozen by "
        "[calibration](calibration.json) before. Ratios to the greedy rule, with 95 % intervals of paired resamples.",
        "",
        "| system | policy | hypervolume, rule point | to greedy | inner point, to greedy | double point, to greedy |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, kinds in rows.items():
        for policy, title in NAMES.items():
            cells = [
                f"{kinds[k][policy]['to_greedy']:.4f} [{kinds[k][policy]['to_greedy_ci95'][0]:.4f}, "
                f"{kinds[k][policy]['to_greedy_ci95'][1]:.4f}]"
                for k in ("rule", "inner", "double")
            ]
            volume = kinds["rule"][policy]["hypervolume"]
            lines.append(f"| {name} | {title} | {volume:,.0f} | " + " | ".join(cells) + " |")
    (out / "study.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder of gmorl")
    parser.add_argument("--systems", nargs="+", default=["training-6"], choices=sorted(SYSTEMS))
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "offloading_study")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "agents" / "offloading")
    args = parser.parse_args()
    run = pareto.load(args.run)
    record = next(r for r in run.records if r.kind == "agent")
    actor = run.policy(record).actor
    args.scratch.mkdir(parents=True, exist_ok=True)
    told = json.loads((args.run / "front.json").read_text())
    facts = {
        "policy": record.id,
        "env_steps": told["cost"]["env_steps"],
        "wall_s": told["cost"]["wall_s"],
        "versions": told["provenance"]["versions"],
        "episodes": args.episodes,
    }
    rows, shown = {}, None
    for name in args.systems:
        costs = measured(args.scratch, name, actor, args.episodes, f"-{record.id}")
        rows[name] = compared(SYSTEMS[name], costs)
        shown = shown or (name, costs)
    write(args.out, rows, facts)
    (args.out / "config.yaml").write_text((args.run / "config.yaml").read_text())
    picture(shown[1], server_mix(actor, SYSTEMS[shown[0]], 50), args.out / "study.svg")


if __name__ == "__main__":
    main()
