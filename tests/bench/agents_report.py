"""One page per study of agents: hypervolume seed by seed, floors, mixtures, optimism, true steps.

    python tests/bench/agents_report.py runs/minecart_cmorl [runs/...] --out reports/agents/minecart

Reads finished run folders of one environment and plays floors (doing nothing, acting at random) on the same held-out
episodes. Writes agents.json and agents.md; nothing there is edited by hand.
"""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from pareto import rng
from pareto.front import (
    expected_utility,
    hypervolume,
    hypervolume_interval,
    hypervolume_with_mixtures,
    interquartile_mean,
    seed_interval,
    sparsity,
)
from pareto.policy_set import PolicySet, load
from pareto.state import atomic
from pareto.study.config import load_study
from pareto.tasks.env.episodes import play
from pareto.tasks.env.facts import fastest


def floors(task: Any) -> dict[str, np.ndarray]:
    """Mean returns [m] of policies that learn nothing: each discrete action for ever, and random ones."""
    seeds = task.episode_seeds("heldout")
    draw = rng.generator("floors", task.id)
    actions = task.facts.actions

    def random(seen: np.ndarray) -> np.ndarray:
        if actions.discrete:
            return draw.integers(actions.size, size=len(seen))
        return draw.uniform(-1, 1, size=(len(seen), actions.size))

    found = {"random actions": random}
    if actions.discrete:
        for a in range(actions.size):
            found[f"action {a} for ever"] = lambda seen, a=a: np.full(len(seen), a)
    else:
        found["zero action for ever"] = lambda seen: np.zeros((len(seen), actions.size))
    values = {}
    for name, act in found.items():
        with task.open(len(seeds)) as envs:
            values[name] = play(envs, act, seeds, task.discount).returns.mean(axis=0)
    return values


def seed_rows(run: PolicySet, ref_point: np.ndarray) -> list[dict[str, Any]]:
    """What each seed's policies reach, all figures on held-out episodes but "chosen by"."""
    rows = []
    for seed in sorted({record.seed for record in run}):
        own = [record for record in run if record.seed == seed]
        units = []
        for record in own:
            with np.load(run.folder / "scores" / f"{record.id}.npz", allow_pickle=False) as z:
                units.append(run.objectives.orient(z["values"]))
        values = np.array([u.mean(axis=0) for u in units])
        interval = hypervolume_interval(np.array(units), ref_point) if len(units[0]) > 1 else None
        chosen = [record.facts.get("chosen_by") for record in own]
        optimistic = None
        if all(chosen):
            optimistic = float(
                hypervolume(run.objectives.orient([run.objectives.vector(c) for c in chosen]), ref_point)
            )
        rows.append(
            {
                "seed": seed,
                "policies": len(own),
                "hypervolume": float(hypervolume(values, ref_point)),
                "ci95": None if interval is None else [interval.low, interval.high],
                "expected_utility": float(expected_utility(values)),
                "sparsity": float(sparsity(values)),
                "with_mixtures": with_mixtures(values, ref_point),
                "chosen_by": optimistic,
                "reached_after_steps": reached(run, own[0].id),
            }
        )
    return rows


def with_mixtures(values: np.ndarray, ref_point: np.ndarray) -> float | None:
    """Hypervolume with mixtures; None beyond four objectives, where it would take hours."""
    return float(hypervolume_with_mixtures(values, ref_point)) if values.shape[1] <= 4 else None


def reached(run: PolicySet, policy_id: str) -> int | None:
    """Steps after which a job's own estimate first came within 1e-6 of its last; None where it kept no such log."""
    log = run.folder / "metrics" / f"{policy_id.rpartition('-')[0]}.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    known = [(row["env_steps"], row["hypervolume"]) for row in rows if row.get("hypervolume") is not None]
    if not known:
        return None
    return int(next(steps for steps, figure in known if figure >= known[-1][1] * (1 - 1e-6)))


def account(task: Any) -> str | None:
    """What the environment's own description says of its exact front."""
    source = fastest(task.id)
    if not isinstance(source, str) or source not in gym.registry:
        return None
    told = inspect.getdoc(load_env_creator(gym.spec(source).entry_point)) or ""
    found = [paragraph for paragraph in told.split("\n\n") if "`pareto_front`" in paragraph]
    return " ".join(found[0].split()) if found else None


def study(folder: str) -> dict[str, Any]:
    """All figures of one run folder."""
    run = load(folder)
    config = load_study(Path(folder) / "config.yaml")
    task: Any = config.task
    assert run.ref_point is not None
    ref_point = run.objectives.orient(run.ref_point)
    rows = seed_rows(run, ref_point)
    figures, mixed = [row["hypervolume"] for row in rows], [row["with_mixtures"] for row in rows]
    middle = seed_interval(interquartile_mean, figures) if len(figures) > 1 else None
    cost, n = run.content["cost"], len(rows)
    learned_nothing = {
        name: {
            "values": run.objectives.named(run.objectives.orient(v)),
            "hypervolume": float(hypervolume(v[None], ref_point)) if (v > ref_point).all() else 0.0,
        }
        for name, v in floors(task).items()
    }
    exact = run.exact or {}
    return {
        "study": run.content["study"],
        "method": run.content["method"],
        "env": task.id,
        "gamma": task.discount,
        "ref_point": run.objectives.named(run.ref_point),
        "heldout_episodes": task.heldout_episodes,
        "seeds": rows,
        "mean": float(np.mean(figures)),
        "mean_with_mixtures": None if mixed[0] is None else float(np.mean(mixed)),
        "interquartile_mean_ci95": None if middle is None else [middle.low, middle.high],
        "exact_hypervolume": exact.get("hypervolume"),
        "exact_front": [list(point) for point in exact.get("front", [])],
        "account": account(task),
        "floors": learned_nothing,
        "steps_per_seed": {
            "training": cost["env_steps"] / n,
            "selection": cost["selection_env_steps"] / n,
            "scoring": cost["scoring_env_steps"] / n,
        },
        "wall_s_per_seed": cost["wall_s"] / n,
        "versions": run.content["provenance"]["versions"],
        "config_sha256": run.content["provenance"]["config_sha256"],
    }


def page(studies: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    first = studies[0]
    names = ", ".join(f"{k} {v:g}" for k, v in first["ref_point"].items())
    played = " or ".join(dict.fromkeys(str(s["heldout_episodes"]) for s in studies))
    lines = [
        f"# {first['env']}",
        "",
        f"Hypervolume over ({names}), discount {first['gamma']:g}, on held-out episodes that chose nothing "
        f"({played} per policy). Mixtures draw one of a seed's policies at the start of every episode: a row of "
        'their own, since no single policy does that. "Chosen by" is the same policies by the estimates that chose them.',
        "",
        "| study | mean | seeds | with mixtures | chosen by | policies | steps per seed: training + selection | final scoring | wall s per seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for s in studies:
        rows, steps = s["seeds"], s["steps_per_seed"]
        optimistic = [row["chosen_by"] for row in rows]
        each = " ".join(f"{row['hypervolume']:.5g}" for row in rows)
        mixed = "-" if s["mean_with_mixtures"] is None else f"{s['mean_with_mixtures']:.6g}"
        shown = f"{np.mean(optimistic):.6g}" if all(o is not None for o in optimistic) else "-"
        lines.append(
            f"| {s['study']} | **{s['mean']:.6g}** | {each} "
            f"| {mixed} | {shown} | {min(r['policies'] for r in rows)}-{max(r['policies'] for r in rows)} "
            f"| {steps['training'] + steps['selection']:,.0f} | {steps['scoring']:,.0f} | {s['wall_s_per_seed']:.0f} |"
        )
    if first["exact_hypervolume"] is not None:
        lines += [
            "",
            f"Exact, by dynamic programming over deterministic policies: {first['exact_hypervolume']:.7g}.",
        ]
        points = [f"({', '.join(f'{x:.4g}' for x in point)})" for point in first["exact_front"]]
        if len(points) <= 12:
            lines[-1] += f" Its points: {', '.join(points)}."
        if first["account"]:
            lines += ["", first["account"]]
    lines += ["", "Steps after which a seed's own estimate of its hypervolume rose no more:", ""]
    for s in studies:
        after = [f"{r['seed']}: {r['reached_after_steps']:,}" for r in s["seeds"] if r["reached_after_steps"]]
        if after:
            lines.append(f"- {s['study']}: {'; '.join(after)}")
    lines += [
        "",
        "Expected utility (weights uniform on the simplex, larger is better) and sparsity (no measure of quality: one policy "
        "alone has 0), means over seeds:",
        "",
    ]
    for s in studies:
        both = [float(np.mean([row[k] for row in s["seeds"]])) for k in ("expected_utility", "sparsity")]
        lines.append(f"- {s['study']}: {both[0]:.4g} and {both[1]:.4g}")
    lines += ["", "Intervals of the hypervolume over episodes, seed by seed:", ""]
    for s in studies:
        known = [f"{r['seed']}: {r['ci95'][0]:.6g} to {r['ci95'][1]:.6g}" for r in s["seeds"] if r["ci95"]]
        if known:
            lines.append(f"- {s['study']}: {'; '.join(known)}")
    lines += [
        "",
        "Policies that learn nothing, on the same episodes:",
        "",
        "| floor | hypervolume | returns |",
        "|---|---|---|",
    ]
    for name, floor in first["floors"].items():
        values = ", ".join(f"{k} {v:.2f}" for k, v in floor["values"].items())
        lines.append(f"| {name} | {floor['hypervolume']:.6g} | {values} |")
    versions = ", ".join(f"{k} {v}" for k, v in first["versions"].items())
    lines += ["", f"Versions: {versions}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", help="finished run folders of one environment")
    parser.add_argument("--out", type=Path, required=True, help="folder under reports/agents")
    args = parser.parse_args()
    studies = [study(folder) for folder in args.runs]
    args.out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(args.out / "agents.json", studies)
    atomic.write_text(args.out / "agents.md", page(studies))
    print(page(studies))


if __name__ == "__main__":
    main()
