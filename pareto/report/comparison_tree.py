"""What a report says of several runs together, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from pareto.report.run_tree import Growth, Held, Interval, Vector


@dataclass(frozen=True)
class Contender:
    """One run among several, measured with the same yardstick as the others.

    Args:
        hypervolume: against the comparison's common reference point; the mean over seeds.
        hypervolume_ci95: its interval, None where it was not measured against that very point.
        difference: hypervolume minus the first run's; None for the first, and without scores on the same units.
        difference_ci95: its interval, the same units resampled for both runs.
        kl_mean_nats, kl_max_nats: over its policies; None where unknown.
        equal_kl_ratio: hypervolume over the first run's, both held to the same limits on KL to the reference, averaged
            over all limits up to the largest KL that both reach; None for the first, and where KL is not known.
        equal_kl_ratio_ci95: its interval over units; KL itself is taken as it was measured.
        cost: in the comparison's cost unit.
        at_equal_cost: what it reaches for the comparison's budget.
        at_equal_kl: what its policies within the comparison's limit on KL reach.
        by_seed: hypervolume of each seed alone, seeds ascending.
        interquartile_mean: of those; None for a single seed.
        interquartile_mean_ci95: its interval over seeds.
        growth: hypervolume against cost, against the common reference point.
    """

    run: int
    hypervolume: float
    hypervolume_ci95: Interval | None
    difference: float | None
    difference_ci95: Interval | None
    policies: int
    seeds: int
    kl_mean_nats: float | None
    kl_max_nats: float | None
    equal_kl_ratio: float | None
    equal_kl_ratio_ci95: Interval | None
    cost: float | None
    at_equal_cost: Held | None
    at_equal_kl: Held | None
    by_seed: list[float]
    interquartile_mean: float | None
    interquartile_mean_ci95: Interval | None
    growth: Growth | None


@dataclass(frozen=True)
class Pairing:
    """Two runs compared seed by seed.

    Args:
        first: place of one run.
        second: place of the other.
        seeds: how many seeds both have.
        difference: mean hypervolume of the first minus that of the second.
        difference_ci95: its interval over seeds.
        p: Wilcoxon's signed-rank test, two-sided.
        p_holm: the same after Holm's correction over all pairs.
        improvement: probability that a run of the first beats one of the second.
        improvement_ci95: its interval over seeds.
    """

    first: int
    second: int
    seeds: int
    difference: float
    difference_ci95: Interval
    p: float
    p_holm: float
    improvement: float
    improvement_ci95: Interval


@dataclass(frozen=True)
class AttainmentDifference:
    """Where the first run attains more often than another, two objectives.

    Args:
        run: place of the other run.
        rectangles: [k][5] two lower ends, two upper ends, share of the first run's seeds that attain the rectangle minus
            share of the other's; clipped to the comparison's reference point.
    """

    run: int
    rectangles: list[Vector]


@dataclass(frozen=True)
class Comparison:
    """Several runs with the same objectives, side by side.

    Args:
        verdict: every run's hypervolume in one sentence, largest first.
        ref_point: common reference point [m]: the worst of the runs' own, objective by objective.
        cost_unit: key of the cost compared ("train_tokens"), None where the runs share none.
        budget: the cheapest run's whole cost, which all are held to.
        kl_limit_nats: the largest KL to the reference that every run reaches, which all are held to.
        pairings: tests between every two runs, where they share seeds.
        attainment: the first run against every other, two objectives.
        notes: what a reader must know before ranking them.
    """

    verdict: str
    ref_point: Vector
    contenders: list[Contender]
    cost_unit: str | None
    budget: float | None
    kl_limit_nats: float | None
    pairings: list[Pairing]
    attainment: list[AttainmentDifference]
    notes: list[str]
