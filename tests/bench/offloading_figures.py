"""The figures of offloading_study.py: what costs of policies on the same episodes come to."""

import json

import numpy as np

import pareto
from envs.offloading import TINY, TINY_SLOTS, OffloadingVector, exact, present
from envs.offloading.frozen import REF_POINTS, SCALES, ref_points
from pareto.front import hypervolume
from tests.bench.offloading_rows import EVEN, PLACED, SEED

RESAMPLES = 1000
SHOWN = (1, 5, 10, 20, 50, 80, 100)  # per cent of weight on delay at which costs are compared
LOWERED = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)  # shares by which all weighted costs are thought lower
MIX = 21  # preferences at which the servers chosen are counted


def inside(means, point):
    """Hypervolume of mean costs [P, 2] above a reference point; those beyond it add nothing."""
    better = -means[(-means > point).all(axis=1)]
    return float(hypervolume(better, point)) if len(better) else 0.0


def compared(config, costs):
    """Hypervolumes at each reference point, their ratios to the greedy rule's in equal steps, and intervals of both."""
    draw, k = np.random.default_rng(0), costs["greedy"].shape[1]
    samples = draw.integers(k, size=(RESAMPLES, k))
    table = {}
    for kind, point in ref_points(config).items():
        point = np.array(point)

        def volume(c, which=slice(None), point=point):
            return inside(c[:, which].mean(axis=1), point)

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
    return float(lost / inside(mean, point))


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
    whole = inside(costs["greedy"].mean(axis=1), -point)
    found = {}
    for lowered in LOWERED:
        lines = ((1 - lowered) * least - weights[:, 1] * energy[:, None]) / weights[:, 0]
        room = np.clip(point[0] - np.maximum(lines.max(axis=1), 0.0), 0.0, None)
        found[f"{lowered:g}"] = float(np.trapezoid(room, energy) / whole)
    return found


def columns(row):
    """Per cent of weight on delay -> the policy that stands for it."""
    own = [] if row.preferences is None else (100 * row.preferences[:, 0]).round(2)
    return {int(w): k for k, w in enumerate(own) if w == int(w)}


def cheaper(rows, costs):
    """Row -> weighted cost to greedy's at some preferences, with 95 % intervals of paired episodes; null where it has none."""
    found = {}
    for key, row in rows.items():
        if row.preferences is None or key.endswith("placed"):
            continue
        found[key], has = [], columns(row)
        for i in SHOWN:
            if i not in has:
                found[key].append(None)
                continue
            own, greedy = (
                (costs[r][k] / SCALES * EVEN[i]).sum(axis=1) for r, k in ((key, has[i]), ("greedy", i))
            )
            error = 1.96 * (own - greedy).std(ddof=1) / np.sqrt(len(own))
            found[key].append([(own.mean() + e) / greedy.mean() for e in (0.0, -error, error)])
    return found


def beside_separate(config, rows, costs):
    """(conditioned row, separately trained row) -> its hypervolume to theirs at their preferences, per reference point."""
    found = {}
    for key, row in rows.items():
        at = columns(row)
        if not row.wide or row.policies == 101 or not at:
            continue
        for other in (k for k, r in rows.items() if r.wide and r.preferences is EVEN):
            both = costs[other][list(at)].mean(axis=1), costs[key][list(at.values())].mean(axis=1)
            found[f"{rows[other].title} / {row.title}"] = {
                kind: inside(both[0], np.array(p)) / inside(both[1], np.array(p))
                for kind, p in ref_points(config).items()
            }
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
