"""Policy protocols and the PolicySet: ordered policies, their value matrix, where they came from.

A run folder's `front.json` is the hub between what makes policies and what uses them. This room reads it; it reaches
upward only through two registries, so that a new policy kind or a new way to steer is one new file elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from pareto import simplex
from pareto.cells import WeightsKind
from pareto.errors import ArtifactError, ParetoError, UsageError, did_you_mean
from pareto.front import hypervolume, non_dominated
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord, policy_record
from pareto.registry import Registry
from pareto.state import tensor_file
from pareto.state.run_files import check_file, listed, read_json, sha256_in_manifest

if TYPE_CHECKING:
    import pandas

FORMAT = 1
"""The version of front.json that is read and written."""


@runtime_checkable
class TextPolicy(Protocol):
    """A language-model policy."""

    objectives: Objectives

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int = 64, seed: int = 0, temperature: float = 1.0
    ) -> list[str]:
        """One reply per prompt; the reply to a prompt does not depend on its neighbours in the batch."""
        ...

    def logps(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """[B] float64, nats: log-probability of each response (with its end token) given its prompt."""
        ...


@runtime_checkable
class ActPolicy(Protocol):
    """A control policy."""

    objectives: Objectives

    def act(self, observation: Any) -> Any:
        """An action for one observation."""
        ...


@dataclass(frozen=True, eq=False)
class PolicySet:
    """Measured policies of one run, in order.

    Args:
        folder: the run folder.
        records: the policies, all on the same objectives.
        objectives: in the order of the columns of `values`.
        ref_point: [m] in each objective's own direction, or None where none was fixed.
        content: front.json without its policies (study, method, exact, cost, provenance, ...).
    """

    folder: Path
    records: tuple[PolicyRecord, ...]
    objectives: Objectives
    ref_point: np.ndarray | None = None
    content: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def values(self) -> np.ndarray:
        """[n, m] float64, measured values in each objective's own direction and unit."""
        rows = [self.objectives.vector(record.values) for record in self.records]
        return _frozen(rows, len(self.objectives))

    @cached_property
    def weights(self) -> np.ndarray:
        """[n, m] float64, requested weights; a row of NaN where a policy has none."""
        none = np.full(len(self.objectives), np.nan)
        rows = [none if r.weights is None else self.objectives.vector(r.weights) for r in self.records]
        return _frozen(rows, len(self.objectives))

    @property
    def weights_kind(self) -> WeightsKind:
        """What the requested weights are: "direction" when the policies were made for directions, else "simplex"."""
        kinds: list[WeightsKind] = [r.weights_kind for r in self.records if r.weights is not None]
        return kinds[0] if kinds else "simplex"

    @property
    def indicators(self) -> Mapping[str, Any]:
        """The indicators stored when the whole run was scored."""
        return self.content.get("indicators") or {}

    @property
    def exact(self) -> Mapping[str, Any] | None:
        """What is known of the exact front, or None where truth is not known."""
        return self.content.get("exact")

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that made the policies."""
        several = self.content.get("methods")
        return tuple(several) if several else (str(self.content.get("method")),)

    def of_method(self, name: str) -> PolicySet:
        """The policies of one method, with the indicators of these alone; shared ones belong to each method that wanted them.

        Raises:
            UsageError: no such method.
        """
        if name not in self.methods:
            raise UsageError(
                f"{self.folder} holds policies of {', '.join(self.methods)}; got {name!r}{did_you_mean(name, self.methods)}"
            )
        several = self.content.get("methods")
        if not several:
            return self
        rest = {k: v for k, v in self.content.items() if k not in ("methods", "rounds")}
        records = tuple(r for r in self.records if name in str(r.facts.get("method")).split("+"))
        return replace(self, records=records, content={**rest, **several[name], "method": name})

    def front(self) -> PolicySet:
        """The policies that no other one dominates, in their order."""
        keep = non_dominated(self.objectives.orient(self.values)) if self.records else []
        return replace(self, records=tuple(r for r, k in zip(self.records, keep) if k))

    def hypervolume(self, ref_point: Mapping[str, float] | Sequence[float] | None = None) -> float:
        """Volume dominated by the measured values and bounded by the reference point.

        Args:
            ref_point: in each objective's own direction, named or [m]; None takes the run's own.

        Raises:
            UsageError: none given and the run has none.
        """
        point = self.ref_point if ref_point is None else self._vector(ref_point)
        if point is None:
            raise UsageError(
                f"{self.folder} fixed no reference point; give ref_point, one number per objective"
            )
        return float(hypervolume(self.objectives.orient(self.values), self.objectives.orient(point)))

    def steer(
        self,
        weights: Mapping[str, float] | Sequence[float] | np.ndarray | str | None = None,
        *,
        at: str | None = None,
        method: str = "auto",
        **options: Any,
    ) -> Any:
        """One policy for the given weights, or the measured policy that meets a constraint query.

        Args:
            weights: objective -> number for every objective, or [m]; on the simplex, or a unit direction where the run
                was made for directions. "auto" leaves them to each prompt (method `orchestrator` with a uniform prior).
            at: a query such as ``"helpful >= 0.6, max brief"``; in place of weights.
            method: how to serve the weights; see `pareto list steering`.
            options: passed to the method.

        Returns:
            a `TextPolicy` or an `ActPolicy`.

        Raises:
            UsageError: both or neither of weights and at; a query no measured policy meets.
            SimplexError: weights that are not weights.
        """
        if (weights is None) == (at is None):
            raise UsageError("give either weights or at (a query); got both or neither")
        if at is not None:
            if method not in ("auto", "select"):
                raise UsageError(
                    f"a query picks a measured policy; method must be 'auto' with it, got {method!r}"
                )
            return STEERERS.get("select")(self, None, at=at, **options)
        if isinstance(weights, str):
            if weights != "auto":
                raise UsageError(f"weights are numbers, or the word 'auto'; got {weights!r:.80}")
            weights = [1.0 / len(self.objectives)] * len(self.objectives)
            method = "orchestrator" if method == "auto" else method
        outside = bool(options.get("extrapolate"))
        steerer = STEERERS.get(method)
        _check_options(method, steerer, options)
        return steerer(self, self.check_weights(weights, extrapolate=outside), **options)

    def check_weights(
        self, weights: Mapping[str, float] | Sequence[float] | np.ndarray | None, *, extrapolate: bool = False
    ) -> np.ndarray:
        """[m] float64 after checking that the weights are of the kind this run was made for.

        Args:
            weights: objective -> number, or [m].
            extrapolate: weights that sum to 1 may lie outside the simplex; directions stay directions.
        """
        vector = self._vector(weights)
        if self.weights_kind == "direction":
            return simplex.check_direction(vector)
        return (simplex.check_affine if extrapolate else simplex.check)(vector)

    def policy(self, which: int | str | PolicyRecord, **options: Any) -> Any:
        """Load a stored policy by position, id or record, after checking its files against their digests.

        Args:
            which: of the policies.
            options: of its kind's loader, such as device and dtype.

        Raises:
            ArtifactError: it has no files, or one is missing, changed, a link, or no sound file of tensors.
        """
        record = which if isinstance(which, PolicyRecord) else self[which]
        self.checked_folder(record)
        return LOADERS.get(record.kind)(self, record, **options)

    def checked_folder(self, record: PolicyRecord) -> Path:
        """Where a policy's files lie, after checking them against their digests.

        Raises:
            ArtifactError: it has no files, or one is missing, changed, a link, or no sound file of tensors.
        """
        if not record.files:
            raise ArtifactError(
                f"policy {record.id!r} of {self.folder} has no files: only its values are known, so it cannot be run"
            )
        folder = self.folder / "policies" / record.id
        for name, sha256 in record.files.items():
            check_file(self.folder, f"policies/{record.id}/{name}", sha256)
        tensor_file.check_all_tensors(folder / name for name in record.files)
        return folder

    def checked_file(self, name: str) -> Path:
        """Where a file of the run lies, after checking it against the manifest, where the run has one.

        Args:
            name: path relative to the run folder, with "/".

        Raises:
            ArtifactError: it is missing, changed, a link, or not in the manifest.
        """
        listed = self._manifest
        if listed is not None and name not in listed:
            raise ArtifactError(
                f"{self.folder / name} is not in the manifest, so nothing says that it belongs to the run; remove it, or "
                "run the sweep again"
            )
        check_file(self.folder, name, None if listed is None else listed[name])
        return self.folder / name

    @cached_property
    def _manifest(self) -> Mapping[str, str] | None:
        """Path -> sha256 as the run's manifest states them; None where there is no manifest."""
        return listed(self.folder)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas table, one row per policy: id, kind, seed, weight_<objective>, <objective>."""
        import pandas

        names = self.objectives.names
        frame = pandas.DataFrame(
            [(r.id, r.kind, r.seed) for r in self.records], columns=["id", "kind", "seed"]
        )
        for i, name in enumerate(names):
            frame[f"weight_{name}"] = self.weights[:, i]
        for i, name in enumerate(names):
            frame[name] = self.values[:, i]
        return frame

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[PolicyRecord]:
        return iter(self.records)

    def __getitem__(self, which: int | str) -> PolicyRecord:
        if isinstance(which, int):
            return self.records[which]
        for record in self.records:
            if record.id == which:
                return record
        raise UsageError(
            f"{self.folder} holds no policy {which!r}; it holds {', '.join(r.id for r in self.records)}"
        )

    def _vector(self, numbers: Any) -> np.ndarray:
        if isinstance(numbers, Mapping):
            return self.objectives.vector(numbers)
        return self.objectives.vector(self.objectives.named(numbers))


STEERERS: Registry[Callable[..., Any]] = Registry("steering method", "pareto.steer")
"""Steering method -> function ``(run: PolicySet, weights: [m], **options) -> policy``."""

LOADERS: Registry[Callable[..., Any]] = Registry("policy kind", "pareto.models.kinds")
"""Policy kind -> function ``(run, record, **options)`` that loads a stored policy, whose files have been checked."""


def _check_options(method: str, steerer: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse an option that a steering method does not know, with the ones it knows."""
    parameters = inspect.signature(steerer).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(
            f"steering method {method!r} takes no {', '.join(unknown)}{did_you_mean(unknown[0], known)}; its options are: "
            f"{', '.join(known) or 'none'}"
        )


def load(path: Path | str, method: str | None = None) -> PolicySet:
    """Read a run folder.

    Args:
        path: what `pareto sweep` or `pareto import` wrote.
        method: the one whose policies are wanted; None takes all that are in the folder.

    Raises:
        UsageError: the folder holds no such method.
        ArtifactError: not a run folder, unfinished, changed since it was written, of another format, or unsafe.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ArtifactError(f"expected a run folder; there is none at {folder}")
    whole = from_json(folder, read_json(folder, "front.json", sha256_in_manifest(folder)))
    return whole if method is None else whole.of_method(method)


def from_json(folder: Path, content: Any) -> PolicySet:
    """A policy set from the parsed content of front.json.

    Raises:
        ArtifactError: of another format, or a policy that is incomplete, doubled, unsafely named or not finite.
    """
    where = folder / "front.json"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(
            f"{where}: expected format {FORMAT}; got {got!r}; it was written by another version"
        )
    try:
        objectives = Objectives.from_json(content["objectives"])
        point = content.get("ref_point")
        ref_point = None if point is None else objectives.vector(objectives.named(point))
        records = tuple(policy_record(row, objectives) for row in content["policies"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) and not isinstance(error, ParetoError) else error
        raise ArtifactError(
            f"{where}: {what}; the file is broken, run the sweep again or restore it"
        ) from error
    ids = [record.id for record in records]
    doubled = sorted({i for i in ids if ids.count(i) > 1})
    if doubled:
        raise ArtifactError(f"{where}: policy ids must be unique; doubled: {', '.join(doubled)}")
    kinds = {record.weights_kind for record in records if record.weights is not None}
    if len(kinds) > 1:
        raise ArtifactError(f"{where}: all weights must be of one kind; got {', '.join(sorted(kinds))}")
    return PolicySet(
        folder, records, objectives, ref_point, {k: v for k, v in content.items() if k != "policies"}
    )


def _frozen(rows: Sequence[Any], m: int) -> np.ndarray:
    array = np.array(rows, dtype=np.float64).reshape(len(rows), m)
    array.setflags(write=False)
    return array
