"""What a report says of one run, as plain data.

Vectors over objectives are lists in the order of `RunReport.objectives`, in each objective's own direction and unit.
`None` means "not known", never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Vector = list[float]
PartialVector = list[float | None]
Interval = tuple[float, float]


@dataclass(frozen=True)
class ObjectiveInfo:
    """Name, direction ("max" or "min") and unit of one objective."""

    name: str
    direction: str
    unit: str


@dataclass(frozen=True)
class PolicyRow:
    """One scored policy.

    Args:
        label: short name used in figures and texts, unique within the run ("3").
        weights: [m], or None where the policy was asked for nothing.
        values: [m] means over held-out units.
        ci95: [m] intervals of those means, None where unknown.
        selection: [m] means on the units that were used to choose.
        knee: how far it stands beyond the straight front between the ends; None for dominated policies.
        text: length_tokens, entropy_nats, distinct_2 of its replies.
        groups: group of users or of units -> figure -> number, in whatever words the task has for them.
        cost: what its own job spent in training, where that is known and the job made this policy alone.
        cost_unit: what `cost` counts ("train_tokens"), or None.
    """

    label: str
    id: str
    seed: int | None
    kind: str | None
    weights: Vector | None
    weights_kind: str
    values: Vector
    ci95: list[Interval | None]
    n: int | None
    split: str | None
    selection: PartialVector | None
    selection_n: int | None
    non_dominated: bool
    contribution: float | None
    knee: float | None
    kl_nats: float | None
    kl_to_exact_nats: float | None
    optimality: float | None
    optimality_heldout: float | None
    text: dict[str, float | None] | None
    groups: dict[str, Any] | None
    cost: float | None = None
    cost_unit: str | None = None


@dataclass(frozen=True)
class Held:
    """Some of a run's policies, measured alone: how many, their hypervolume, and its interval where it is known."""

    policies: int
    hypervolume: float
    ci95: Interval | None


@dataclass(frozen=True)
class Growth:
    """Hypervolume against cost, job after job.

    Args:
        cost_unit: what the cost counts ("train_tokens").
        costs: [k] rising, all seeds together.
        steps: [k] what was reached for it, the mean over seeds.
    """

    cost_unit: str
    costs: list[float]
    steps: list[Held]


@dataclass(frozen=True)
class Exact:
    """What is known about the truth on tasks with exact optima.

    Args:
        front: [k][m] the dense exact front.
        same_weights: [n][m] exact optima at the trained policies' weights and at their mean distance to the reference.
        figures: optimality, hypervolume_ratio, ... by name.
    """

    source: str | None
    beta: float | None
    front: list[Vector]
    same_weights: list[Vector]
    figures: dict[str, float | None]


@dataclass(frozen=True)
class Steering:
    """How one objective answers to its weight.

    Args:
        tau: Kendall's tau-b between requested weight and delivered value (larger = better oriented).
        concordant: share of policy pairs with different weights in which more weight delivered more.
        largest_reversal: the most that was lost while the weight grew, in the objective's unit, >= 0.
        policies: how many policies this rests on.
    """

    objective: str
    tau: float | None
    concordant: float | None
    largest_reversal: float | None
    policies: int


@dataclass(frozen=True)
class SeedRow:
    """Hypervolume of one seed's policies alone, against the run's reference point."""

    seed: int
    policies: int
    hypervolume: float


@dataclass(frozen=True)
class Surface:
    """The staircase attained by at least so many of the seeds: corner points [k][2], two objectives only."""

    seeds: int
    points: list[Vector]


@dataclass(frozen=True)
class Seeds:
    """What several seeds say together.

    Args:
        rows: seed by seed.
        interquartile_mean: mean of the middle half of the seeds' hypervolumes; of fewer than four, of all.
        interquartile_mean_ci95: its interval over seeds; rough with few of them.
        surfaces: attainment surfaces, two objectives only.
    """

    rows: list[SeedRow]
    interquartile_mean: float
    interquartile_mean_ci95: Interval
    surfaces: list[Surface]


@dataclass(frozen=True)
class TradeOffRow:
    """Two neighbours on a front of two objectives, and what one unit of the first objective costs in the second.

    Args:
        a: label of the one with more of the second objective.
        b: label of the one with more of the first.
        rate: units of the second objective lost per unit of the first gained, >= 0, both counted as better or worse.
    """

    a: str
    b: str
    rate: float


@dataclass(frozen=True)
class StepRow:
    """Two neighbours on a front of three and more objectives, and what changes from one to the other.

    Args:
        a: label of one.
        b: label of the other.
        changes: [m] value of b minus value of a, in each objective's own direction and unit.
        price: what is lost per what is gained from a to b, each objective counted in shares of the front's range; above 1
            the step loses more than it gains.
    """

    a: str
    b: str
    changes: Vector
    price: float


@dataclass(frozen=True)
class RoundRow:
    """Weights that were trained together, in a sweep whose weights depend on results.

    Args:
        weights: [k][m].
        kept: how many of them were trained to the end.
        gain: what they added to the selection split's hypervolume; None where that was not measured.
        gain_se: standard error of `gain`.
        certificate: before this round, the most that a policy could still gain at any weights, in utility.
        expected_gain: what the first of them was expected to add.
    """

    weights: list[Vector]
    kept: int
    gain: float | None
    gain_se: float | None
    certificate: float | None
    expected_gain: float | None


@dataclass(frozen=True)
class Reply:
    """One policy's reply to a prompt, with what rewards say of it where they are known."""

    policy: str
    text: str
    rewards: dict[str, float | None] | None = None


@dataclass(frozen=True)
class SampleRow:
    """One prompt and the replies of several policies along the front."""

    prompt: str
    replies: list[Reply]


@dataclass(frozen=True)
class Verdict:
    """The run in words: one headline, the facts behind it, and what a reader must be warned of."""

    headline: str
    facts: list[str]
    flags: list[str]


@dataclass(frozen=True)
class RunReport:
    """Everything said about one run folder.

    Args:
        trade_offs: prices between neighbours, two objectives.
        steps: what changes between neighbours, three objectives and more.
        intervals: 95 % intervals of further indicators, by name, where scores per unit are there.
        growth: hypervolume against cost, where that can be said.
        rounds: how the weights were chosen, where that depended on results.
    """

    name: str
    study: str
    task: str | None
    method: str | None
    context: dict[str, Any] | None
    objectives: list[ObjectiveInfo]
    ref_point: Vector | None
    ref_point_rule: str | None
    verdict: Verdict
    policies: list[PolicyRow]
    indicators: dict[str, Any]
    exact: Exact | None
    steering: list[Steering]
    trade_offs: list[TradeOffRow]
    steps: list[StepRow]
    intervals: dict[str, Interval]
    growth: Growth | None
    rounds: list[RoundRow]
    seeds: Seeds | None
    samples: list[SampleRow]
    quarantined: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    cost: dict[str, int | float | None]
    provenance: dict[str, Any]
    config: str | None
