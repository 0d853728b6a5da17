"""Dispatchers beside rules, on held-out episodes: hypervolume at the frozen reference points, with intervals.

    pareto sweep configs/offloading_gmorl_rollouts.yaml --out runs/offloading_gmorl_rollouts
    python -m tests.bench.offloading_study runs/offloading_gmorl_rollouts [more runs of gmorl, sac_scalarized, ppo_scalarized]

Every policy plays the same episodes, whose seeds neither training, nor search, nor calibration has seen. What takes a
preference plays 101 in equal steps and, in rows of its own, 101 that are denser near energy. Every (system, row) is a file in
runs/offloading_study; a stopped run goes on where it stopped. Writes study.json, study.md and study.svg into
reports/agents/offloading. Intervals are of 1,000 resamples of whole episodes, the same for all rows of a system, so that
ratios are paired.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import pareto
from envs.offloading import SYSTEMS, TINY, TINY_SLOTS, OffloadingVector, exact, present
from envs.offloading.frozen import REF_POINTS, SCALES, ref_points
from envs.offloading.play import preference_costs
from pareto.front import hypervolume
from pareto.report import canvas
from tests.bench.offloading_rows import EVEN, PLACED, rules, trained

ROOT = Path(__file__).resolve().parents[2]
SEED, RESAMPLES = 8_000_000, 1000
SHOWN = (1, 5, 10, 20, 50, 80, 100)  # per cent of weight on delay at which costs are compared
FEW = ("random", "linucb", "greedy")  # rules that the systems after the first are compared with
DRAWN = ("random", "linucb", "greedy", "nsga2")
LOWERED = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)  # shares by which all weighted costs are thought lower
MIX = 21  # preferences at which the servers chosen are counted


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


def compared(config, costs):
    """Hypervolumes at each reference point, their ratios to the greedy rule's in equal steps, and intervals of both."""
    draw, k = np.random.default_rng(0), costs["greedy"].shape[1]
    samples = draw.integers(k, size=(RESAMPLES, k))
    table = {}
    for kind, point in ref_points(config).items():
        point = np.array(point)

        def volume(c, which=None, point=point):
            mean = -(c if which is None else c[:, which]).mean(axis=1)
            inside = mean[(mean > point).all(axis=1)]
            return float(hypervolume(inside, point)) if len(inside) else 0.0

        drawn = {p: np.array([volume(c, s) for s in samples]) for p, c in costs.items()}
        whole = {p: volume(c) for p, c in costs.items()}
        best = np.min([c.mean(axis=1).min(axis=0) for c in costs.values()], axis=0)
        table[kind] = {
            p: {
                "hypervolume": whole[p],
                "ci95": np.quantile(drawn[p], [0.025, 0.975]).tolist(),
                "to_greedy": whole[p] / whole["greedy"],
                "to_greedy_ci95": np.quantile(drawn[p] / drawn["greedy"], [0.025, 0.975]).tolist(),
            }
            for p in costs
        } | {"box": {"to_greedy": float(np.prod(-point - best)) / whole["greedy"]}}
    return table


def step_left_out(config, costs):
    """Share of greedy's hypervolume between its first two preferences of equal steps, at the frozen point."""
    point, mean = np.array(ref_points(config)["rule"]), costs["greedy"].mean(axis=1)
    lost = (mean[0, 0] - mean[:, 0].min()) * (mean[1, 1] - mean[0, 1])
    return float(lost / hypervolume(-mean, point))


def tangent_ceilings(config, costs):
    """Lowering -> hypervolume to greedy's of all that lies behind the tangents of the frozen point's box.

    At every preference, in equal steps and placed, no row's policy has a lower weighted cost than the least of them, c(w).
    If nothing has, then all policies and their mixtures lie behind the lines w.cost = c(w); with c(w) lowered by a share,
    behind lines further out. Weight 0 is exact: energy is charged at once.
    """
    point = -np.array(ref_points(config)["rule"])
    means = np.concatenate([c.mean(axis=1) for c in costs.values()])
    weights = np.concatenate([EVEN[1:], PLACED[1:]]) / np.array(SCALES)
    least = (means @ weights.T).min(axis=0)
    energy = np.linspace(means[:, 1].min(), point[1], 100_001)
    whole = hypervolume(-costs["greedy"].mean(axis=1), -point)
    found = {}
    for lowered in LOWERED:
        lines = ((1 - lowered) * least - weights[:, 1] * energy[:, None]) / weights[:, 0]
        room = np.clip(point[0] - np.maximum(lines.max(axis=1), 0.0), 0.0, None)
        found[f"{lowered:g}"] = float(np.trapezoid(room, energy) / whole)
    return found


def cheaper(rows, costs):
    """Row in equal steps -> weighted cost to greedy's at some preferences, with 95 % intervals of paired episodes."""
    found = {}
    for key, row in rows.items():
        if row.preferences is None or not np.array_equal(row.preferences, EVEN):
            continue
        found[key] = []
        for i in SHOWN:
            own, greedy = ((costs[r][i] / SCALES * EVEN[i]).sum(axis=1) for r in (key, "greedy"))
            error = 1.96 * (own - greedy).std(ddof=1) / np.sqrt(len(own))
            found[key].append([(own.mean() + e) / greedy.mean() for e in (0.0, -error, error)])
    return found


def tiny_shares(runs):
    """Method -> share of the exact supported front's hypervolume that 101 preferences reach on the tiny instance."""
    tree, point = exact.grow(TINY, TINY_SLOTS), -np.array(REF_POINTS["tiny"]["rule"])
    whole = hypervolume(exact.supported_front(tree), point)
    found = {}
    for run in runs:
        policies = pareto.load(run)
        actor = policies.policy(next(r for r in policies.records if r.kind == "agent")).actor
        values = [exact.policy_value(tree, lambda seen, w=w, a=actor: a.at(w).act(seen, None)) for w in EVEN]
        found[json.loads((run / "front.json").read_text())["method"]] = float(
            hypervolume(np.array(values), point) / whole
        )
    return found


def server_mix(row, config, episodes):
    """[MIX, S] share of the tasks that each server gets at each preference of a row."""
    some = np.linspace(0, 100, MIX).astype(int)
    rule = row.begin()(np.repeat(some, episodes))
    vector = OffloadingVector(MIX * episodes, config=config)
    seen, _ = vector.reset(seed=list(range(SEED, SEED + episodes)) * MIX)
    counts = np.zeros((len(seen), present(seen).shape[1]))
    for _ in range(100):
        chosen = rule.act(seen)
        counts[np.arange(len(seen)), chosen] += seen[:, 0, 0] > 0
        seen, *_ = vector.step(chosen)
    counts = counts.reshape(MIX, episodes, -1).sum(axis=1)
    return EVEN[some, 0], counts / counts.sum(axis=1, keepdims=True)


def picture(rows, costs, mix, path):
    """Fronts of some rows with intervals, and how the servers chosen move with the preference."""
    with canvas.theme():
        drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
        FigureCanvasSVG(drawn)
        left, right = drawn.subplots(1, 2)
        learned = [k for k, r in rows.items() if r.wide and "placed" not in k][:2]
        for i, key in enumerate((*DRAWN, *learned)):
            c = costs[key]
            mean = c.mean(axis=1)
            error = 1.96 * c.std(axis=1, ddof=1) / np.sqrt(c.shape[1])
            left.errorbar(
                mean[:, 0], mean[:, 1], error[:, 1], error[:, 0], fmt=canvas.MARKERS[i], ms=3, lw=0.6,
                color=canvas.RUNS[i], label=rows[key].title,
            )  # fmt: skip
        highest = 1.15 * max(costs[k].mean(axis=1)[:, 1].max() for k in DRAWN if k != "random")
        left.set(xlabel="delay of all tasks, s", ylabel="energy, J", xscale="log", ylim=(None, highest))
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.legend(frameon=False)
        weights, shares = mix
        base = np.zeros(len(weights))
        for server in range(shares.shape[1]):
            label = "cloud" if server == 0 else ("edge servers" if server == 1 else None)
            colour = canvas.RUNS[0] if server == 0 else canvas.RUNS[1]
            top = base + shares[:, server]
            right.fill_between(weights, base, top, color=colour, alpha=1 - 0.1 * server, lw=0, label=label)
            base = top
        right.set(xlabel="weight of delay", ylabel="share of tasks", xlim=(0, 1), ylim=(0, 1))
        right.legend(frameon=True, loc="upper left")
        drawn.savefig(path, metadata={"Date": None})


def interval(middle, low, high):
    return f"{middle:.4f} [{low:.4f}, {high:.4f}]"


def text(facts, rows_of):
    """Lines of study.md; `rows_of` a system are its rows by name."""
    yield "# Dispatchers for every preference and every edge system"
    yield ""
    yield (
        "Written by `python -m tests.bench.offloading_study`; no figure is edited by hand. "
        "Held-out episodes, the same for every policy; the reference points were frozen by "
        "[calibration](calibration.json) before. Ratios are to the greedy rule in equal steps of the weight, with 95 % "
        "intervals of paired resamples. *Placed*: 101 preferences whose weight of delay is the fourth power of equal steps."
    )
    yield ""
    for run in facts["runs"]:
        yield (
            f"- {run['study']}: `{run['method']}`, {run['env_steps']:,} decisions, {run['wall_s']:,.0f} s of a machine shared with other work "
            f"([config]({run['config']}))."
        )
    for name, system in facts["systems"].items():
        kinds, rows = system["hypervolume"], rows_of[name]
        yield from ("", f"## {name}, {system['episodes']} episodes", "")
        yield "| row | policies | hypervolume, rule point | to greedy | inner point, to greedy | double point, to greedy |"
        yield "|---|---:|---:|---:|---:|---:|"
        for key, row in rows.items():
            cells = [interval(kinds[k][key]["to_greedy"], *kinds[k][key]["to_greedy_ci95"]) for k in kinds]
            title = row.title + (", placed" if key.endswith("placed") else "")
            volume = kinds["rule"][key]["hypervolume"]
            yield f"| {title} | {row.policies} | {volume:,.0f} | " + " | ".join(cells) + " |"
        box = " | ".join(f"{kinds[k]['box']['to_greedy']:.4f}" for k in kinds)
        yield f"| box from the best corners of all rows | | | {box} |"
        yield ""
        yield (
            f"At the rule point {100 * system['step_left_out']:.1f} % of greedy's hypervolume lie between its first two "
            "preferences in equal steps, 0 and .01, where no policy of a later preference can go. The box is no front: it "
            "has the least delay at the least energy. The region behind the tangents at the least weighted cost of any row, "
            "which holds every mixture of policies that are no better at any preference, has "
            + ", ".join(
                f"{v:.4f}" + (f" (costs {100 * float(k):g} % lower)" if float(k) else "")
                for k, v in system["tangent_ceilings"].items()
            )
            + " of it."
        )
        yield ""
        yield "Weighted cost in equal steps, to greedy's:"
        yield ""
        yield "| row | " + " | ".join(f"weight of delay {i / 100:g}" for i in SHOWN) + " |"
        yield "|---|" + "---:|" * len(SHOWN)
        for key, values in system["weighted_cost"].items():
            yield f"| {rows[key].title} | " + " | ".join(interval(*v) for v in values) + " |"
    if facts["tiny"]:
        yield from ("", "## Tiny instance", "")
        yield "Share of the exact supported front's hypervolume that 101 preferences reach (the greedy rule: .965):"
        yield ""
        yield from (f"- `{method}`: {share:.4f}" for method, share in facts["tiny"].items())


def told(run, out):
    """What a run says of itself; its config goes beside the report."""
    front = json.loads((run / "front.json").read_text())
    config = f"{front['study'].removeprefix('offloading_')}.yaml"
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
        if not first:
            rows = {k: r for k, r in rows.items() if k in FEW or (r.wide and _anywhere(k))}
        episodes = args.episodes if first else args.other_episodes
        rows_of[name], costs_of[name] = rows, measured(args.scratch, name, rows, episodes)
        systems[name] = {
            "episodes": episodes,
            "hypervolume": compared(config, costs_of[name]),
            "step_left_out": step_left_out(config, costs_of[name]),
            "tangent_ceilings": tangent_ceilings(config, costs_of[name]),
            "weighted_cost": cheaper(rows, costs_of[name]),
        }
    facts = {
        "runs": [told(run, args.out) for run in args.runs],
        "resamples": RESAMPLES,
        "systems": systems,
        "tiny": tiny_shares(args.tiny),
    }
    (args.out / "study.json").write_text(json.dumps(facts, indent=1) + "\n")
    (args.out / "study.md").write_text("\n".join(text(facts, rows_of)) + "\n")
    rows = rows_of[args.system]
    dispatcher = next(k for k, r in rows.items() if r.wide and r.policies == 101)
    mix = server_mix(rows[dispatcher], SYSTEMS[args.system], 50)
    picture(rows, costs_of[args.system], mix, args.out / "study.svg")


def _anywhere(key):
    """Whether a trained row plays any number of servers, in equal steps."""
    return key.startswith("gmorl") and not key.endswith("placed")


if __name__ == "__main__":
    main()
