"""What a report says, as plain data: the tree that is embedded in the page and written to report.json.

Vectors over objectives are lists in the order of `RunReport.objectives`, in each objective's own direction and unit.
`None` means "not known", never zero.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pareto.errors import ArtifactError

FORMAT = 1
"""Version of report.json."""

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
    """Everything said about one run folder."""

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
    seeds: Seeds | None
    samples: list[SampleRow]
    quarantined: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    cost: dict[str, int | float | None]
    provenance: dict[str, Any]
    config: str | None


@dataclass(frozen=True)
class Contender:
    """One run among several, measured with the same yardstick as the others.

    Args:
        hypervolume: against the comparison's common reference point.
        hypervolume_ci95: its interval, None where it was not measured against that very point.
        difference: hypervolume minus the first run's; None for the first, and without scores on the same units.
        difference_ci95: its interval, the same units resampled for both runs.
        kl_mean_nats, kl_max_nats: over its policies; None where unknown.
        equal_kl_ratio: hypervolume over the first run's, both held to the same limits on KL to the reference, averaged
            over all limits up to the largest KL that both reach; None for the first, and where KL is not known.
        cost: in the comparison's cost unit.
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
    cost: float | None


@dataclass(frozen=True)
class Comparison:
    """Several runs with the same objectives, side by side.

    Args:
        verdict: every run's hypervolume in one sentence, largest first.
        ref_point: common reference point [m]: the worst of the runs' own, objective by objective.
        cost_unit: key of the cost compared ("train_tokens"), None where the runs share none.
        notes: what a reader must know before ranking them.
    """

    verdict: str
    ref_point: Vector
    contenders: list[Contender]
    cost_unit: str | None
    notes: list[str]


@dataclass(frozen=True)
class Report:
    """The whole report; `render` is a function of this alone."""

    title: str
    runs: list[RunReport]
    comparison: Comparison | None = None
    notes: list[str] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return dataclasses.asdict(self)

    def dumps(self, indent: int | None = 1) -> str:
        """The report as JSON text.

        Raises:
            ValueError: NaN or infinity inside; `build` lets none through.
        """
        return json.dumps(self.to_json(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: str = "report.json") -> Report:
        """Read what `to_json` gave, checking every type.

        Args:
            data: plain JSON values.
            source: where they come from, for messages.

        Raises:
            ArtifactError: another format, or not a report; names the place.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise ArtifactError(
                f"{source}: expected a report of format {FORMAT}; got {found!r}; build it again"
            )
        try:
            return TypeAdapter(cls).validate_python(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(f"{source}: {where}: {first['msg']}; got {first['input']!r:.80}") from error
