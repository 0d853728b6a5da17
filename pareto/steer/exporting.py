"""Exact mixtures as files: an ordinary adapter for given weights, or a whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import atomic, manifest
from pareto.steer.conditioned_export import serving_record, write_adapter, write_model
from pareto.steer.members import Among, Members, members

FACTS = "pareto_export.json"
"""What was exported, beside the exported files."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        kind: "adapter" or "model".
        shares: policy id -> its coefficient.
        rank: of the adapter; None for a model.
        error: largest relative error of a layer's update in the Frobenius norm, where the rank was cut; else 0.
    """

    kind: str
    shares: Mapping[str, float]
    rank: int | None = None
    error: float = 0.0


def export_adapter(
    run: PolicySet,
    weights: np.ndarray,
    out: Path,
    *,
    among: Among = "all",
    study_seed: int | None = None,
    extrapolate: bool = False,
    rank: int | None = None,
) -> Exported:
    """Write  sum_k c_k dW_k  as one ordinary PEFT adapter of the reference.

    A weight-conditioned policy is written as it is at these weights, backbone and head. Else factors stand side by side, so the rank is the sum of the ranks, less what linear dependence allows to leave out
    without loss. Scale is 1 and all layers have one rank, which every engine reads.

    Args:
        run: policies stored as adapters.
        weights: [m], checked.
        out: a new folder.
        among: which policies are mixed; see `members`.
        study_seed: of the mixed policies.
        extrapolate: weights may lie outside the simplex.
        rank: cut to the best approximation of this rank; None is exact.

    Raises:
        UsageError: policies without exact mixture, or stored as whole models.
    """
    from pareto.models import lora_factors
    from pareto.models.causal import load_causal_lm

    if rank is not None and rank < 1:
        raise UsageError(f"rank must be at least 1; got {rank}")
    if (record := serving_record(run, weights)) is not None:
        with atomic.staged_folder(out) as folder:
            written, error = write_adapter(run, record, weights, rank, folder)
            done = Exported("adapter", {record.id: 1.0}, written, error)
            _write_facts(run, [record], weights, done, folder, "conditioned")
        return done
    chosen = members(run, among, study_seed)
    if chosen.kind != "adapter":
        raise UsageError(
            f"the policies of {run.folder} are whole models, whose mixture is no adapter; export a merged model (--merge)"
        )
    shares = chosen.shares(weights, extrapolate=extrapolate)
    copies = any(map(lora_factors.has_copies, chosen.folders))
    base = load_causal_lm(chosen.reference)[0] if copies else None
    updates = [lora_factors.read_factors(folder, base) for folder in chosen.folders]
    whole = lora_factors.weighted_sum(updates, shares.tolist())
    cut = {layer: lora_factors.reduced(factors, rank) for layer, factors in whole.items()}
    with atomic.staged_folder(out) as folder:
        written = lora_factors.write_adapter({n: f for n, (f, _) in cut.items()}, folder, _targets(chosen))
        done = Exported("adapter", _named(chosen, shares), written, max(lost for _, lost in cut.values()))
        _write_facts(run, chosen.records, weights, done, folder)
    return done


def export_model(
    run: PolicySet,
    weights: np.ndarray,
    out: Path,
    *,
    among: Among = "all",
    study_seed: int | None = None,
    extrapolate: bool = False,
) -> Exported:
    """Write the mixture as a whole model with its tokenizer, as safetensors.

    Args:
        run: policies stored as adapters or as whole models.
        weights: [m], checked.
        out: a new folder.
        among: which policies are mixed; see `members`.
        study_seed: of the mixed policies.
        extrapolate: weights may lie outside the simplex.

    Raises:
        UsageError: policies without exact mixture, or an update of a tied layer.
    """
    import torch

    from pareto.models import lora_factors
    from pareto.models.causal import load_causal_lm, no_progress_bars
    from pareto.models.parameter_mixing import ParameterMixture, merge

    if (record := serving_record(run, weights)) is not None:
        with atomic.staged_folder(out) as folder:
            write_model(run, record, weights, folder)
            done = Exported("model", {record.id: 1.0})
            _write_facts(run, [record], weights, done, folder, "conditioned")
        return done
    chosen = members(run, among, study_seed)
    shares = chosen.shares(weights, extrapolate=extrapolate)
    model, tokenizer = load_causal_lm(chosen.reference)
    if chosen.kind == "adapter":
        updates = [lora_factors.read_factors(folder, model) for folder in chosen.folders]
        model = merge(model, lora_factors.weighted_sum(updates, shares.tolist()))
    else:
        mixture = ParameterMixture(model, chosen.folders)
        with mixture.at(torch.from_numpy(shares)):
            model = mixture.get_base_model()
    done = Exported("model", _named(chosen, shares))
    with atomic.staged_folder(out) as folder, no_progress_bars():
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        _write_facts(run, chosen.records, weights, done, folder)
    return done


def _targets(chosen: Members) -> list[str] | None:
    """The short layer names all adapters were trained on, or None where they differ or are no list."""
    from pareto.models.lora_factors import read_config

    names: list[Any] = [read_config(folder).get("target_modules") for folder in chosen.folders]
    if all(isinstance(n, list) and set(n) == set(names[0]) for n in names):
        return sorted(names[0])
    return None


def _named(chosen: Members, shares: np.ndarray) -> dict[str, float]:
    return {r.id: float(c) for r, c in zip(chosen.records, shares) if c != 0}


def _write_facts(
    run: PolicySet,
    records: Sequence[PolicyRecord],
    weights: np.ndarray,
    done: Exported,
    folder: Path,
    method: str = "soup",
) -> None:
    source = run.folder / "front.json"
    atomic.write_json(
        folder / FACTS,
        {
            "format": 1,
            "study": run.content.get("study"),
            "front_sha256": manifest.sha256(source) if source.is_file() else None,
            "weights": run.objectives.named(weights),
            "method": method,
            "extrapolated": bool((weights < 0).any() or min(done.shares.values()) < 0),
            "shares": dict(done.shares),
            "policies": {r.id: dict(r.files) for r in records if r.id in done.shares},
            "rank": done.rank,
            "relative_error": done.error,
        },
    )
