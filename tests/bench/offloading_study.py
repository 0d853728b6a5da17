"""Dispatchers beside rules, on held-out episodes: hypervolume at the frozen reference points, with intervals.

    pareto sweep configs/offloading_gmorl_rollouts.yaml --out runs/offloading_gmorl_rollouts
    python -m tests.bench.offloading_study runs/offloading_gmorl_rollouts [more runs of gmorl, sac_scalarized, ppo_scalarized]

Every policy plays the same episodes, whose seeds neither training, nor search, nor calibration has seen. What takes a
preference plays 101 in equal steps and, in rows of its own, 101 that are denser near energy. Every (system, row) is a file in
runs/offloading_study; a stopped run goes on where it stopped. Writes study.json, study.md and study.svg, or what `--page`
names, into reports/agents/offloading. Intervals are of 1,000 resamples of whole episodes, the same for all rows of a system, so that
ratios are paired.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from envs.offloading import SYSTEMS
from envs.offloading.frozen import SCALES
from envs.offloading.play import preference_costs
from tests.bench.offloading_figures import (
    RESAMPLES,
    beside_separate,
    cheaper,
    compared,
    server_mix,
    step_left_out,
    tangent_ceilings,
    tiny_shares,
)
from tests.bench.offloading_page import picture, text
from tests.bench.offloading_rows import SEED, rules, trained

ROOT = Path(__file__).resolve().parents[2]
FEW = ("random", "linucb", "greedy")  # rules that the systems after the first are compared with


def measured(scratch, name, rows, episodes):
    """Row -> [P, K, 2] costs on one system."""
    costs, config = {}, SYSTEMS[name]
    for key, row in rows.items():
        path = scratch / f"{name}-{key}-{episodes}.npy"
        if not path.exists():
            lean = config if row.wide else config.model_copy(update={"histogram_bins": 1})
            begin = time.process_time()
            found = preference_costs(row.begin(), row.policies, lean, range(SEED, SEED + episodes))
            np.save(path, found.astype(np.float32))
            print(f"{path.stem}: {time.process_time() - begin:.0f} CPU s", flush=True)
        costs[key] = np.load(path, allow_pickle=False).astype(np.float64)
    return costs


def told(run, out, page):
    """What a run says of itself; its config goes beside the report."""
    front = json.loads((run / "front.json").read_text())
    before = "" if page == "study" else f"{page}_"
    config = f"{before}{front['study'].removeprefix('offloading_')}.yaml"
    (out / config).write_text((run / "config.yaml").read_text())
    cost = front["cost"]
    return {
        "study": front["study"].removeprefix("offloading_"),
        "method": front["method"],
        "config": config,
        "env_steps": cost["env_steps"],
        "wall_s": cost["wall_s"],
        "versions": front["provenance"]["versions"],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of trained dispatchers")
    parser.add_argument("--tiny", type=Path, nargs="*", default=[], help="run folders on the tiny instance")
    parser.add_argument("--system", default="training-6", choices=sorted(SYSTEMS), help="with all rows")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--others", nargs="*", default=[], choices=sorted(SYSTEMS), help="with few rows")
    parser.add_argument("--other-episodes", type=int, default=50)
    parser.add_argument(
        "--rows", default="all", choices=["all", "few"], help="few: of the rules only " + ", ".join(FEW)
    )
    parser.add_argument("--page", default="study", help="name of the files written")
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "offloading_study")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "agents" / "offloading")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    systems, rows_of, costs_of = {}, {}, {}
    for name in (args.system, *args.others):
        config, first = SYSTEMS[name], name == args.system
        rows = rules(config.model_copy(update={"histogram_bins": 1}), SEED)
        for run in args.runs:
            rows |= trained(run, np.array(SCALES))
        few = not first or args.rows == "few"
        rows = {k: r for k, r in rows.items() if (k in FEW if not r.wide and few else _wanted(k, r, name))}
        episodes = args.episodes if first else args.other_episodes
        rows_of[name], costs_of[name] = rows, measured(args.scratch, name, rows, episodes)
        systems[name] = {
            "episodes": episodes,
            "hypervolume": compared(config, costs_of[name]),
            "step_left_out": step_left_out(config, costs_of[name]),
            "tangent_ceilings": tangent_ceilings(config, costs_of[name]),
            "weighted_cost": cheaper(rows, costs_of[name]),
            "beside_separate": beside_separate(config, rows, costs_of[name]),
        }
    facts = {
        "runs": [told(run, args.out, args.page) for run in args.runs],
        "resamples": RESAMPLES,
        "systems": systems,
        "tiny": tiny_shares(args.tiny),
    }
    (args.out / f"{args.page}.json").write_text(json.dumps(facts, indent=1) + "\n")
    (args.out / f"{args.page}.md").write_text("\n".join(text(facts, rows_of)) + "\n")
    rows = rows_of[args.system]
    dispatcher = next(k for k, r in rows.items() if r.wide and r.policies == 101)
    mix = server_mix(rows[dispatcher], SYSTEMS[args.system], 50)
    picture(rows, costs_of[args.system], mix, args.out / f"{args.page}.svg")


def _wanted(key, row, system):
    """Trained at home, or a GMORL, which plays anywhere; away from home in equal steps only."""
    if not row.wide or row.home == system:
        return True
    return row.title.startswith("gmorl") and not key.endswith("placed")


if __name__ == "__main__":
    main()
