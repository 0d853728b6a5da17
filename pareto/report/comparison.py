"""Several runs against one yardstick: a common reference point, equal distance to the reference, equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pareto.front import equal_kl, indicator_interval
from pareto.objectives import Objective, Objectives
from pareto.report import wording
from pareto.report.reading import UnitScores
from pareto.report.seeds import by_seed, volume
from pareto.report.tree import Comparison, Contender, Interval, RunReport

COSTS = ("train_tokens", "env_steps", "generated_tokens", "wall_s")
"""What runs are compared at: the first of these that all of them spent."""

MOST_POINTS, FEW_POINTS = 400, 40
"""Most policies whose hypervolume is resampled here, up to four objectives and above: beyond, it takes minutes."""

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
    units = [_unit_scores(run, s) for run, s in zip(runs, scores)]
    contenders = [
        _contender(r, run, ref, cost, units[r], _difference(runs, units, r, ref), _equal_kl(runs, r, ref))
        for r, run in enumerate(runs)
    ]
    verdict = _verdict(runs, contenders)
    return Comparison(
        verdict, objectives.orient(ref).tolist(), contenders, cost, _notes(runs, contenders)
    ), []


def objectives_of(run: RunReport) -> Objectives:
    """The run's objectives as the type that knows directions."""
    return Objectives(Objective(o.name, o.direction, o.unit) for o in run.objectives)  # type: ignore[arg-type]


def _contender(
    r: int,
    run: RunReport,
    ref: np.ndarray,
    cost: str | None,
    units: UnitScores | None,
    difference: tuple[float, Interval] | None,
    equal_kl_ratio: float | None,
) -> Contender:
    oriented = _oriented(run)
    groups = list(by_seed(run.policies).values())
    value = mean_volume(oriented, groups, ref)
    kls = [p.kl_nats for p in run.policies if p.kl_nats is not None]
    return Contender(
        run=r,
        hypervolume=value,
        hypervolume_ci95=_interval(run, value, units, ref),
        difference=None if difference is None else difference[0],
        difference_ci95=None if difference is None else difference[1],
        policies=len(run.policies),
        seeds=len(groups),
        kl_mean_nats=float(np.mean(kls)) if kls else None,
        kl_max_nats=max(kls, default=None),
        equal_kl_ratio=equal_kl_ratio,
        cost=None if cost is None else float(run.cost[cost] or 0),
    )


def _interval(run: RunReport, value: float, units: UnitScores | None, ref: np.ndarray) -> Interval | None:
    """The run's own interval where it holds for this very figure; else one made from its scores per unit."""
    own, interval = run.indicators.get("hypervolume"), run.indicators.get("hypervolume_ci95")
    if own is not None and interval and np.isclose(own, value, rtol=1e-9, atol=0.0):
        return interval[0], interval[1]
    if units is None or not _bootstrappable(len(units.values), len(ref)):
        return None
    groups = list(by_seed(run.policies).values())
    made = indicator_interval(units.values, lambda v: mean_volume(v, groups, ref), resamples=RESAMPLES)
    return made.low, made.high


def _oriented(run: RunReport) -> np.ndarray:
    values = np.array([p.values for p in run.policies]).reshape(-1, len(run.objectives))
    return objectives_of(run).orient(values)


def _bootstrappable(n: int, m: int) -> bool:
    return n <= (MOST_POINTS if m <= 4 else FEW_POINTS)


def mean_volume(oriented: np.ndarray, groups: Sequence[Sequence[int]], ref: np.ndarray) -> float:
    """Mean over seeds of each seed's own hypervolume: fronts of several seeds are never pooled.

    Args:
        oriented: [n, m] values, larger is better.
        groups: rows of each seed.
        ref: [m] oriented.
    """
    volumes = [volume(oriented[list(rows)], ref) for rows in groups]
    return float(np.mean(volumes)) if volumes else 0.0


def _unit_scores(run: RunReport, scores: Mapping[str, UnitScores]) -> UnitScores | None:
    """Oriented scores of all policies on the same units, [n, n_units, m].

    None where they are not all there, or are not the scores whose means front.json holds.
    """
    held = [scores.get(p.id) for p in run.policies]
    known = [s for s in held if s is not None]
    if not known or len(known) < len(held):
        return None
    ids = known[0].unit_ids
    if any(not np.array_equal(s.unit_ids, ids) or not np.isfinite(s.values).all() for s in known):
        return None
    stacked = np.array([s.values for s in known])
    if not np.allclose(stacked.mean(axis=1), [p.values for p in run.policies], rtol=1e-6, atol=1e-9):
        return None
    return UnitScores(objectives_of(run).orient(stacked), ids)


def _difference(
    runs: Sequence[RunReport], units: Sequence[UnitScores | None], r: int, ref: np.ndarray
) -> tuple[float, Interval] | None:
    """Hypervolume of run `r` minus that of the first, with its interval, resampling the same units for both.

    None for the first run itself, and where the two were not scored on the same units.
    """
    a, b = units[0], units[r]
    if r == 0 or a is None or b is None or not np.array_equal(a.unit_ids, b.unit_ids):
        return None
    n = len(a.values)
    if not _bootstrappable(n + len(b.values), len(ref)):
        return None
    ours, theirs = (list(by_seed(run.policies).values()) for run in (runs[0], runs[r]))

    def figure(values: np.ndarray) -> float:
        return mean_volume(values[n:], theirs, ref) - mean_volume(values[:n], ours, ref)

    made = indicator_interval(np.concatenate([a.values, b.values]), figure, resamples=RESAMPLES)
    return made.value, (made.low, made.high)


def _equal_kl(runs: Sequence[RunReport], r: int, ref: np.ndarray) -> float | None:
    """Hypervolume of run `r` over that of the first at equal KL, the mean over the seeds that both have.

    None where KL is not known, and where less than half of either's policies lie within the KL that both reach: a ratio
    of two or three policies that happen to lie lowest says nothing.
    """
    pair = [[p.kl_nats for p in run.policies if p.kl_nats is not None] for run in (runs[0], runs[r])]
    if (
        r == 0
        or not all(pair)
        or [len(kls) for kls in pair] != [len(run.policies) for run in (runs[0], runs[r])]
    ):
        return None
    common = min(max(kls) for kls in pair)
    if any(2 * sum(kl <= common for kl in kls) < len(kls) for kls in pair):
        return None
    first, other = (by_seed(run.policies) for run in (runs[0], runs[r]))
    ratios = [
        equal_kl(*_priced(runs[r], other[seed]), *_priced(runs[0], first[seed]), ref).ratio
        for seed in first
        if seed in other
    ]
    return float(np.mean(ratios)) if ratios and np.isfinite(ratios).all() else None


def _priced(run: RunReport, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Oriented values and KL of some policies; an estimate of KL below 0 is noise around 0."""
    kl = np.array([run.policies[i].kl_nats for i in rows], dtype=np.float64)
    return _oriented(run)[list(rows)], np.maximum(kl, 0.0)


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
