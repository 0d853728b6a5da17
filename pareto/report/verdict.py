"""The first lines of a report: one number with its interval, what stands behind it, what to be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pareto.objectives import Objectives
from pareto.report import wording
from pareto.report.tree import PolicyRow, Seeds, Verdict

EQUAL_STRENGTH = 1.02
"""Above this ratio to the exact optima at the same weights, a run won by drifting further, not by training better."""

UNITS = {"lab": "prompt", "text": "prompt", "env": "episode"}


def verdict(
    front: Mapping[str, Any],
    objectives: Objectives,
    policies: Sequence[PolicyRow],
    ref_point: Sequence[float] | None,
    seeds: Seeds | None = None,
) -> Verdict:
    """Put a run into words: hypervolume, reference point, evidence, exclusions, optimality, warnings.

    Args:
        front: front.json without its policies.
        objectives: its objectives.
        policies: its policies.
        ref_point: [m], or None where none was fixed.
        seeds: what several seeds say together.
    """
    quarantined, failed = (front.get(key) or [] for key in ("quarantined", "failed"))
    indicators = front.get("indicators") or {}
    exact = front.get("exact") or {}
    return Verdict(
        headline=headline(indicators),
        facts=[
            _evidence(front, policies),
            *_seeds(seeds),
            *_selection(indicators),
            _reference(objectives, policies, ref_point, front.get("ref_point_rule")),
            _exclusions(indicators, policies, quarantined, failed),
            *_truth(exact),
        ],
        flags=[
            *_strength(exact),
            *_split(policies),
            *_approximate(indicators),
            *_interval(indicators),
            *_boundary(objectives, policies, ref_point),
            *_losses(indicators, quarantined, failed),
        ],
    )


def headline(indicators: Mapping[str, Any]) -> str:
    """Say the one number: "Hypervolume 3.10, 95 % interval 3.00 to 3.20"."""
    value = indicators.get("hypervolume")
    if value is None:
        return "Hypervolume not known"
    shown, interval = wording.with_interval(value, indicators.get("hypervolume_ci95"))
    return f"Hypervolume {shown}, 95 % interval {interval}" if interval else f"Hypervolume {shown}"


def _evidence(front: Mapping[str, Any], policies: Sequence[PolicyRow]) -> str:
    sizes = sorted({p.n for p in policies if p.n is not None})
    splits = sorted({wording.named(wording.SPLITS, p.split) for p in policies if p.split is not None})
    text = any(p.text is not None for p in policies)
    unit = UNITS.get(str(front.get("task")), "prompt" if text else "unit")
    seeds = len({p.seed for p in policies if p.seed is not None})
    where = f"{' and '.join(splits)} " if splits else ""
    span = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}" if sizes else ""
    parts = [
        wording.count(len(policies), "policy", "policies"),
        f" over {wording.count(seeds, 'seed')}" if seeds else "",
        f", each scored on {span} {where}{unit}{'' if sizes == [1] else 's'}" if sizes else "",
    ]
    return "".join(parts) + "."


def _seeds(seeds: Seeds | None) -> list[str]:
    if seeds is None:
        return []
    shown, interval = wording.with_interval(seeds.interquartile_mean, seeds.interquartile_mean_ci95)
    return [
        f"One seed at a time: hypervolume {shown} (interquartile mean over seeds, 95 % interval {interval})."
    ]


def _selection(indicators: Mapping[str, Any]) -> list[str]:
    """Both numbers: what is reported, and what the units that choices rest on would have said."""
    value, chosen = indicators.get("hypervolume"), indicators.get("hypervolume_selection")
    if value is None or chosen is None:
        return []
    shown, _ = wording.with_interval(value, indicators.get("hypervolume_ci95"))
    return [
        f"Reported on units that no choice rests on: {shown}; on the units that choices rest on it reads "
        f"{wording.number(chosen)}."
    ]


def _reference(
    objectives: Objectives,
    policies: Sequence[PolicyRow],
    ref_point: Sequence[float] | None,
    rule: str | None,
) -> str:
    if ref_point is None:
        return "No reference point."
    named = ", ".join(f"{name} {wording.number(v)}" for name, v in zip(objectives.names, ref_point))
    how = f": {wording.named(wording.REF_POINT_RULES, rule)}" if rule else ""
    if rule == "corners-10%" and all(p.selection is not None for p in policies):
        how += ", on the selection split: no reported value had a part in it"
    return f"Reference point ({named}){how}."


def _exclusions(
    indicators: Mapping[str, Any],
    policies: Sequence[PolicyRow],
    quarantined: Sequence[Any],
    failed: Sequence[Any],
) -> str:
    best = sum(p.non_dominated for p in policies)
    outside = indicators.get("outside_ref_point")
    parts = [
        f"{best} of {len(policies)} not dominated",
        *([] if outside is None else [f"{int(outside)} not better than the reference point"]),
        f"{len(quarantined)} quarantined",
        f"{len(failed)} failed",
    ]
    return ", ".join(parts) + "."


def _truth(exact: Mapping[str, Any]) -> list[str]:
    trained, heldout = exact.get("optimality"), exact.get("optimality_heldout")
    if trained is None and heldout is None:
        return []
    shown = [
        f"{wording.fixed(value, 3)} on {where}"
        for value, where in ((trained, "prompts trained on"), (heldout, "held-out prompts"))
        if value is not None
    ]
    return [f"Optimality {', '.join(shown)} (1 is the exact optimum, 0 the untrained reference)."]


def _strength(exact: Mapping[str, Any]) -> list[str]:
    ratio = exact.get("hypervolume_ratio")
    if ratio is None or ratio <= EQUAL_STRENGTH:
        return []
    return [
        f"Not at equal strength: the hypervolume is {wording.fixed(ratio, 3)} times that of the exact optima at the "
        "same weights, which can only be had by drifting further from the reference. Look at KL policy by policy."
    ]


def _split(policies: Sequence[PolicyRow]) -> list[str]:
    other = sorted({p.split for p in policies if p.split not in (None, "heldout")})
    if not other:
        return []
    return [
        f"Values come from the {', '.join(other)} split, not from held-out data: expect them to be optimistic."
    ]


def _approximate(indicators: Mapping[str, Any]) -> list[str]:
    error = indicators.get("hypervolume_error")
    if not error:
        return []
    return [
        f"The hypervolume is approximate, within \u00b1{wording.number(error)}: the exact one would take very long."
    ]


def _interval(indicators: Mapping[str, Any]) -> list[str]:
    if indicators.get("hypervolume") is None or indicators.get("hypervolume_ci95"):
        return []
    return ["No interval: the run holds no per-unit scores to compute one from."]


def _boundary(
    objectives: Objectives, policies: Sequence[PolicyRow], ref_point: Sequence[float] | None
) -> list[str]:
    if ref_point is None or not policies:
        return []
    worst = objectives.orient([p.values for p in policies]).min(axis=0)
    at = [
        name for name, here in zip(objectives.names, worst == np.array(objectives.orient(ref_point))) if here
    ]
    if not at:
        return []
    return [
        f"The reference point lies exactly at the worst value of {', '.join(at)}: the policies there contribute nothing."
    ]


def _losses(indicators: Mapping[str, Any], quarantined: Sequence[Any], failed: Sequence[Any]) -> list[str]:
    outside = int(indicators.get("outside_ref_point") or 0)
    losses = [
        f"{wording.count(outside, 'policy is', 'policies are')} not better than the reference point and "
        "contribute nothing."
        if outside
        else "",
        f"{wording.count(len(quarantined), 'policy is', 'policies are')} quarantined and left out of every indicator."
        if quarantined
        else "",
        f"{wording.count(len(failed), 'cell')} failed; the rest stands." if failed else "",
    ]
    return [loss for loss in losses if loss]
