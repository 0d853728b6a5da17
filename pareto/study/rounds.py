"""The rounds of a sweep: which weights are trained together, and what the next ones rest on.

Most studies have one round. Weights that are chosen by results (`Search`), scaled by measured ranges, started from a
neighbour or stopped early need results first: their first round are the corners, which also fix the reference point. A
round is a pure function of the scores of the rounds before it, so that a killed sweep goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from pareto import rng, simplex
from pareto.cells import digest
from pareto.errors import ConfigError
from pareto.front.engines import volume
from pareto.objectives import Objectives
from pareto.study.config import StudyConfig, WeightsConfig
from pareto.study.early import kept
from pareto.study.front_json import Scored
from pareto.study.measured import Measured, measured, resampled_means, weights_key
from pareto.study.store import Store
from pareto.study.weights import WEIGHTS
from pareto.study.weights.search import Known, Search


@dataclass(frozen=True)
class Round:
    """Weights that are trained at the same time.

    Args:
        weights: objective -> number each, as trained for.
        starts: for each the weights of the finished policy it starts from, or None.
        kept: numbers of the weights that are trained to the end; None while none was stopped or nothing is known yet.
        facts: JSON-able, why these.
    """

    weights: tuple[Mapping[str, float], ...]
    starts: tuple[Mapping[str, float] | None, ...] = ()
    kept: tuple[int, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The round as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Round:
        """Read what `to_json` wrote."""
        chosen = None if data["kept"] is None else tuple(data["kept"])
        return cls(tuple(data["weights"]), tuple(data["starts"]), chosen, data["facts"])


def rounds_key(study: StudyConfig) -> str:
    """Digest of all that decides how weights are chosen; `n` is left out, because more of them only go further."""
    return digest(study.weights.model_dump(mode="json", exclude={"n", "patience"}))


def in_rounds(study: StudyConfig) -> bool:
    """Whether weights depend on results."""
    config = study.weights
    adaptive = isinstance(_kind(config), Search)
    return adaptive or config.scale != "none" or config.warm_start is not None or config.early is not None


def first_round(study: StudyConfig) -> Round:
    """The corners, or everything where nothing depends on results.

    Raises:
        ConfigError: an unknown kind, a size the kind cannot have, or a method that cannot do what the weights ask for.
    """
    objectives, config = _objectives(study), study.weights
    kind = _kind(config)
    _check_method(study)
    if not in_rounds(study):
        return Round(_named(objectives, kind(objectives, config)))
    if isinstance(kind, Search):
        kind.check(objectives, config)
    elif not config.corners:
        raise ConfigError(
            "weights that depend on results begin with the corners; remove weights.corners: false"
        )
    return Round(_named(objectives, simplex.corners(len(objectives))))


def within(rounds: Sequence[Round], n: int | None) -> tuple[Round, ...]:
    """The rounds as far as n weights go; what was chosen beyond waits for a larger n."""
    left, cut = n, []
    for one in rounds:
        if left is None or len(one.weights) <= left:
            cut.append(one)
        elif left > 0:
            chosen = None if one.kept is None else tuple(i for i in one.kept if i < left)
            cut.append(replace(one, weights=one.weights[:left], starts=one.starts[:left], kept=chosen))
        left = None if left is None else max(0, left - len(one.weights))
    return tuple(cut)


def next_rounds(
    study: StudyConfig,
    rounds: Sequence[Round],
    policies: Sequence[Scored],
    candidates: Sequence[Scored],
    ref_point: np.ndarray | None,
) -> tuple[Round, ...] | None:
    """All rounds with one more step: stopped weights noted, or another round; None when the sweep is over.

    Args:
        study: the resolved config.
        rounds: what was planned and is done.
        policies: finished policies with their scores, in plan order.
        candidates: partly trained ones, likewise.
        ref_point: [m] in the objectives' own directions; None where no corner has finite scores.
    """
    objectives, config = _objectives(study), study.weights
    if not in_rounds(study) or ref_point is None:
        return None
    known, point = measured(policies, objectives), objectives.orient(ref_point)
    last = rounds[-1]
    if config.early is not None and len(rounds) > 1 and last.kept is None and last.weights:
        names = [weights_key(objectives.vector(w)) for w in last.weights]
        found = measured(candidates, objectives)
        rows = [i for i, w in enumerate(found.weights) if weights_key(w) in names]
        found = found.take(np.array(rows, dtype=np.int64))
        chosen = found.weights[kept(config.early, found, known, point)] if len(rows) else []
        keep = {weights_key(w) for w in chosen}
        stay = tuple(i for i, name in enumerate(names) if name in keep)
        return (*rounds[:-1], replace(last, kept=stay))
    if not len(known.weights):
        return None
    more = _more(study, rounds, known, point)
    return None if more is None else (*rounds, more)


def _more(study: StudyConfig, rounds: Sequence[Round], known: Measured, point: np.ndarray) -> Round | None:
    """One more round, without weights where only something is to be said; None at the end."""
    objectives, config, kind = _objectives(study), study.weights, _kind(study.weights)
    ranges = _ranges(known, len(objectives)) if config.scale == "ranges" else None
    tried = np.array([objectives.vector(w) for one in rounds for w in one.weights])
    if not isinstance(kind, Search):
        if len(rounds) > 1:
            return None
        rest = kind(objectives, config)
        rest = rest[rest.max(axis=1) < 1.0]
        rest = rest if ranges is None else scaled(rest, ranges)
        return _round(
            objectives, rest, known, config, {"ranges": None if ranges is None else ranges.tolist()}
        )
    if not rounds[-1].weights:
        return None
    facts = _gain(known, rounds, objectives, point) if len(rounds) > 1 else {}
    left = (config.n or 0) - len(tried)
    enough = config.patience is not None and _idle(rounds, facts) >= config.patience
    preferences = Known(
        known.weights if ranges is None else unscaled(known.weights, ranges),
        known.values,
        known.variances,
        known.offsets,
        point,
        tried if ranges is None else unscaled(tried, ranges),
        len(rounds),
    )
    proposal = kind.propose(preferences, config, 0 if enough or left <= 0 else config.batch)
    chosen = proposal.weights if ranges is None else scaled(proposal.weights, ranges)
    return _round(objectives, chosen, known, config, {**facts, **proposal.facts})


def scaled(preferences: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """[n, m] weights w_i / range_i, normalised: preferences between objectives brought to the same range."""
    rows = preferences / ranges
    return rows / rows.sum(axis=1, keepdims=True)


def unscaled(weights: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """[n, m] the preferences that `scaled` made the weights from."""
    rows = weights * ranges
    return rows / rows.sum(axis=1, keepdims=True)


def _ranges(known: Measured, m: int) -> np.ndarray:
    """[m] largest minus smallest value over the corners; 1 for an objective that does not move."""
    corners = known.values[known.weights.max(axis=1) == 1.0][:m]
    found = np.ptp(corners, axis=0) if len(corners) else np.ones(m)
    return np.where(found > 0, found, 1.0)


def _round(
    objectives: Objectives,
    weights: np.ndarray,
    known: Measured,
    config: WeightsConfig,
    facts: Mapping[str, Any],
) -> Round:
    starts: tuple[Mapping[str, float] | None, ...] = ()
    if config.warm_start is not None and len(weights):
        distance = np.linalg.norm(weights[:, None] - known.weights[None], axis=-1)
        starts = _named(objectives, known.weights[distance.argmin(axis=1)])
    return Round(_named(objectives, weights), starts, None, dict(facts))


def _gain(
    known: Measured, rounds: Sequence[Round], objectives: Objectives, point: np.ndarray
) -> dict[str, float | None]:
    """What the last round added to the selection split's hypervolume, and the standard error of that."""
    last = {weights_key(objectives.vector(w)) for w in rounds[-1].weights}
    before = np.array([weights_key(w) not in last for w in known.weights])

    def gained(values: np.ndarray) -> float:
        return volume(values, point) - volume(values[before], point)

    error = None
    if known.units is not None and known.units.shape[1] > 1:
        draw = rng.generator("rounds", "gain", len(rounds))
        error = float(np.std([gained(v) for v in resampled_means(known.units, draw)], ddof=1))
    return {"gain": float(gained(known.values)), "gain_se": error}


def _idle(rounds: Sequence[Round], facts: Mapping[str, Any]) -> int:
    """How many rounds in a row, up to the last one, gained less than the standard error of their gain."""
    gains = [*(one.facts for one in rounds[2:]), facts]
    count = 0
    for one in reversed(gains):
        if one.get("gain") is None or one["gain"] > (one.get("gain_se") or 0.0):
            break
        count += 1
    return count


def _kind(config: WeightsConfig) -> Any:
    """The registered kind: a function for weights known beforehand, a `Search` for those that depend on results.

    Raises:
        ConfigError: an unknown kind.
    """
    if not config.kind.isidentifier():
        raise ConfigError(
            f"weights.kind must be one of {', '.join(WEIGHTS.names())}; got {config.kind!r:.80}; correct the name"
        )
    found = WEIGHTS.get(config.kind)
    return found() if isinstance(found, type) else found


def _check_method(study: StudyConfig) -> None:
    config = study.weights
    asked = [key for key in ("warm_start", "early") if getattr(config, key) is not None]
    if asked and not hasattr(study.method, "restarted"):
        raise ConfigError(
            f"weights.{asked[0]} needs a method whose training can start from another policy; "
            f"{study.method_name!r} cannot; remove the key"
        )


def _objectives(study: StudyConfig) -> Objectives:
    return study.task.objectives  # type: ignore[attr-defined]  # every task has objectives


def _named(objectives: Objectives, weights: np.ndarray) -> tuple[Mapping[str, float], ...]:
    return tuple(objectives.named(row) for row in weights)


def stored_rounds(study: StudyConfig, store: Store) -> tuple[Round, ...]:
    """The rounds a run has had, without the last word of a finished sweep; the first one where it had none.

    Rounds that were chosen in another way do not count: their cells stay, and serve where the same weights come up again.
    """
    known = store.get(_fact(study))
    if known is None or known["key"] != rounds_key(study):
        return (first_round(study),)
    found = tuple(Round.from_json(one) for one in known["rounds"])
    return found if found[-1].weights else found[:-1]


def _fact(study: StudyConfig) -> str:
    """Every method of a folder has rounds of its own."""
    return f"rounds {study.method_name}"


def store_rounds(study: StudyConfig, store: Store, rounds: Sequence[Round]) -> None:
    """Note the rounds before their cells are run."""
    store.set(_fact(study), {"key": rounds_key(study), "rounds": [one.to_json() for one in rounds]})
