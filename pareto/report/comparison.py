"""Several runs against one yardstick: a common reference point, equal distance to the reference, equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pareto.front import interquartile_mean, seed_interval
from pareto.report import wording
from pareto.report.equal_kl import common_limit, equal_kl_ratio, within_limit
from pareto.report.growth import COSTS, growth, within
from pareto.report.measuring import interval, mean_volume, objectives_of, oriented, together, unit_scores
from pareto.report.pairing import attainment_differences, pairings
from pareto.report.reading import UnitScores
from pareto.report.seeds import by_seed, volume
from pareto.report.tree import Comparison, Contender, Interval, RunReport

RESAMPLES = 500


def compare(
    runs: Sequence[RunReport], scores: Sequence[Mapping[str, UnitScores]]
) -> tuple[Comparison | None, list[str]]:
    """Measure several runs alike.

    Args:
        runs: their reports.
        scores: policy id -> scores per unit, for each run.

    Returns:
        The comparison, or None with the reasons why these runs cannot be compared.
    """
    named = {tuple((o.name, o.direction) for o in run.objectives) for run in runs}
    if len(named) > 1:
        return None, ["Not compared: the runs do not have the same objectives in the same order."]
    objectives = objectives_of(runs[0])
    references = [run.ref_point for run in runs if run.ref_point is not None]
    if not references:
        return None, ["Not compared: none of the runs has a reference point."]
    ref = objectives.orient(references).min(axis=0)
    cost = next((unit for unit in COSTS if all((run.cost.get(unit) or 0) > 0 for run in runs)), None)
    budget = None if cost is None else min(float(run.cost[cost] or 0) for run in runs)
    limit = common_limit(runs)
    units = [unit_scores(run, s) for run, s in zip(runs, scores)]
    contenders = [_contender(runs, units, r, ref, cost, budget, limit) for r in range(len(runs))]
    return Comparison(
        verdict=_verdict(runs, contenders),
        ref_point=objectives.orient(ref).tolist(),
        contenders=contenders,
        cost_unit=cost,
        budget=budget,
        kl_limit_nats=limit,
        pairings=pairings(runs, [c.by_seed for c in contenders]),
        attainment=attainment_differences(runs, ref),
        notes=_notes(runs, contenders),
    ), []


def _contender(
    runs: Sequence[RunReport],
    units: Sequence[UnitScores | None],
    r: int,
    ref: np.ndarray,
    cost: str | None,
    budget: float | None,
    limit: float | None,
) -> Contender:
    run, values = runs[r], oriented(runs[r])
    groups = list(by_seed(run.policies).values())
    by_itself = [volume(values[rows], ref) for rows in groups]
    value = mean_volume(values, groups, ref)
    kls = [p.kl_nats for p in run.policies if p.kl_nats is not None]
    difference = _difference(runs, units, r, ref)
    ratio = equal_kl_ratio(runs, units, r, ref)
    middle = seed_interval(interquartile_mean, by_itself) if len(groups) > 1 else None
    return Contender(
        run=r,
        hypervolume=value,
        hypervolume_ci95=_interval(run, value, units[r], ref),
        difference=None if difference is None else difference[0],
        difference_ci95=None if difference is None else difference[1],
        policies=len(run.policies),
        seeds=len(groups),
        kl_mean_nats=float(np.mean(kls)) if kls else None,
        kl_max_nats=max(kls, default=None),
        equal_kl_ratio=None if ratio is None else ratio[0],
        equal_kl_ratio_ci95=None if ratio is None else ratio[1],
        cost=None if cost is None else float(run.cost[cost] or 0),
        at_equal_cost=None if cost is None or budget is None else within(run, units[r], ref, cost, budget),
        at_equal_kl=None if limit is None else within_limit(run, units[r], ref, limit),
        by_seed=by_itself,
        interquartile_mean=None if middle is None else middle.value,
        interquartile_mean_ci95=None if middle is None else (middle.low, middle.high),
        growth=None if cost is None else growth(run, units[r], ref, cost),
    )


def _interval(run: RunReport, value: float, units: UnitScores | None, ref: np.ndarray) -> Interval | None:
    """The run's own interval where it holds for this very figure; else one made from its scores per unit."""
    own, known = run.indicators.get("hypervolume"), run.indicators.get("hypervolume_ci95")
    if own is not None and known and np.isclose(own, value, rtol=1e-9, atol=0.0):
        return known[0], known[1]
    groups = list(by_seed(run.policies).values())
    return interval(units, lambda values: mean_volume(values, groups, ref), RESAMPLES)


def _difference(
    runs: Sequence[RunReport], units: Sequence[UnitScores | None], r: int, ref: np.ndarray
) -> tuple[float, Interval] | None:
    """Hypervolume of run `r` minus that of the first, with its interval, resampling the same units for both.

    None for the first run itself, and where the two were not scored on the same units.
    """
    both = together(units, r)
    if both is None:
        return None
    n = len(runs[0].policies)
    ours, theirs = (list(by_seed(run.policies).values()) for run in (runs[0], runs[r]))

    def figure(values: np.ndarray) -> float:
        return mean_volume(values[n:], theirs, ref) - mean_volume(values[:n], ours, ref)

    made = interval(both, figure, RESAMPLES)
    return None if made is None else (figure(both.values.mean(axis=1)), made)


def _verdict(runs: Sequence[RunReport], contenders: Sequence[Contender]) -> str:
    """Every run's hypervolume with its interval, largest first; whether a difference is real the table says."""
    parts = []
    for contender in sorted(contenders, key=lambda c: -c.hypervolume):
        shown, interval = wording.with_interval(contender.hypervolume, contender.hypervolume_ci95)
        parts.append(f"{runs[contender.run].name} {shown}{f' ({interval})' if interval else ''}")
    return f"Hypervolume against one reference point: {', '.join(parts)}."


def _notes(runs: Sequence[RunReport], contenders: Sequence[Contender]) -> list[str]:
    kls = [c.kl_mean_nats for c in contenders if c.kl_mean_nats is not None]
    notes = {
        "The runs fixed different reference points. Here all are measured against the worst of them, objective by "
        "objective, so these figures differ from each run's own.": len(
            {tuple(run.ref_point or ()) for run in runs}
        )
        > 1,
        "The runs are of different tasks.": len({run.task for run in runs}) > 1,
        "The runs have different numbers of seeds; every hypervolume is the mean over a run's seeds.": len(
            {c.seeds for c in contenders}
        )
        > 1,
        "The runs have different numbers of policies per seed, and more policies cover more.": len(
            {c.policies / max(1, c.seeds) for c in contenders}
        )
        > 1,
        "Their mean KL to the reference differs by more than 10 %: look at them at equal KL, and policy by policy.": (
            len(kls) == len(contenders) and max(kls) > 1.1 * min(kls)
        ),
        "The KL of some run hardly overlaps the first one's: no ratio at equal KL for it.": (
            len(kls) == len(contenders) and any(c.equal_kl_ratio is None for c in contenders[1:])
        ),
    }
    return [note for note, holds in notes.items() if holds]
