"""A cell: one unit of work of a study, named by the hash of everything that determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

WeightsKind = Literal["simplex", "direction"]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; the same value always gives the same text.

    Raises:
        ValueError: NaN or infinity inside.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of a JSON-able value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """One fit call: a method at some weights with some seed, or a job that others need first.

    Args:
        role: "policy" (its results are scored and enter the front), "candidate" (scored, so that something can be decided,
            but not in the front) or "prerequisite" (reference model, margins, ...).
        maker: who fits it: "task" or "method".
        spec: JSON-able; everything that determines the result besides the prerequisites.
        needs: prerequisite name -> id of the cell that makes it; enters the hash.
        weights: objective -> number, or None where a cell has no weights.
        seed: the study seed of this cell.
    """

    role: Literal["policy", "candidate", "prerequisite"]
    maker: Literal["task", "method"]
    spec: Mapping[str, Any]
    needs: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    seed: int = 0

    @property
    def id(self) -> str:
        """First 12 hex digits of the sha256 of maker, spec, needs, weights and seed.

        The role stays out: a margin policy that is later also wanted on the front is the same work.
        """
        return digest({k: v for k, v in self.to_json().items() if k != "role"})[:12]

    def to_json(self) -> dict[str, Any]:
        """The cell as plain JSON values."""
        return {
            "role": self.role,
            "maker": self.maker,
            "spec": dict(self.spec),
            "needs": dict(self.needs),
            "weights": None if self.weights is None else dict(self.weights),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """Read what `to_json` wrote."""
        return cls(**data)


@dataclass
class Cost:
    """True cost of a cell. Adds up with `+`; peaks take the larger."""

    train_tokens: int = 0
    generated_tokens: int = 0
    env_steps: int = 0
    selection_env_steps: int = 0
    scoring_env_steps: int = 0
    wasted_tokens: int = 0
    wasted_steps: int = 0
    wall_s: float = 0.0
    peak_rss_mb: float = 0.0
    peak_gpu_mb: float | None = None

    def __add__(self, other: Cost) -> Cost:
        gpu = [g for g in (self.peak_gpu_mb, other.peak_gpu_mb) if g is not None]
        return Cost(
            self.train_tokens + other.train_tokens,
            self.generated_tokens + other.generated_tokens,
            self.env_steps + other.env_steps,
            self.selection_env_steps + other.selection_env_steps,
            self.scoring_env_steps + other.scoring_env_steps,
            self.wasted_tokens + other.wasted_tokens,
            self.wasted_steps + other.wasted_steps,
            self.wall_s + other.wall_s,
            max(self.peak_rss_mb, other.peak_rss_mb),
            max(gpu) if gpu else None,
        )


@dataclass(frozen=True)
class PolicyFiles:
    """One fitted policy: a folder of safetensors and JSON files, and how to load it.

    Args:
        id: name of the policy in the run folder; the cell's id where a cell makes one policy.
        kind: "adapter", "heads", "agent", ...: selects the loader.
        folder: where its files lie, inside the cell's folder.
        weights: objective -> number it was trained for, or None.
        weights_kind: "simplex" or "direction".
        extra: small JSON-able facts worth keeping (groups, selection scores).
    """

    id: str
    kind: str
    folder: Path
    weights: Mapping[str, float] | None
    weights_kind: WeightsKind = "simplex"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """What a fit call returns: the policies it wrote (none for a prerequisite) and what it cost."""

    policies: tuple[PolicyFiles, ...] = ()
    cost: Cost = field(default_factory=Cost)


@dataclass
class FitContext:
    """What a fit call may use.

    Args:
        folder: an empty staging folder; everything written here is committed at once when the call returns.
        scratch: a folder that survives a kill: checkpoints of this very cell go here.
        needs: prerequisite name -> finished folder of the cell that made it.
        progress: called with (done, total, figures) a few times a second at most; shown, never stored.
        log: called with one flat mapping per logging step; written to metrics/<cell id>.jsonl.
        device: torch device string; never hard-coded by a method.
        dtype: "float32" or "bfloat16".
    """

    folder: Path
    scratch: Path
    needs: Mapping[str, Path] = field(default_factory=dict)
    progress: Callable[[int, int, Mapping[str, float]], None] = lambda done, total, figures: None
    log: Callable[[Mapping[str, float]], None] = lambda figures: None
    device: str = "cpu"
    dtype: str = "float32"
