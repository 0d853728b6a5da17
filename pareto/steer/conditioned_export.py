"""A weight-conditioned policy at fixed weights as files that other programs load."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.steer.nearest import nearest_record


def serving_record(run: PolicySet, weights: np.ndarray) -> PolicyRecord | None:
    """The conditioned policy that serves weights (of several seeds the one whose own weights are nearest), or None."""
    own = tuple(r for r in run.records if r.kind == "conditioned" and r.weights is not None)
    if not own:
        return None
    return nearest_record(PolicySet(run.folder, own, run.objectives, run.ref_point, run.content), weights)


def write_adapter(
    run: PolicySet, record: PolicyRecord, weights: np.ndarray, rank: int | None, out: Path
) -> Any:
    """Write backbone and head at these weights as one PEFT adapter; at fixed weights the head's update is B diag(g(w)) A.

    Args:
        run: the policy set.
        record: from `serving_record`.
        weights: [m], checked.
        rank: cut every layer's update to its best approximation of this rank; None is exact.
        out: an existing folder.

    Returns:
        (rank of the adapter, largest relative error of a layer).

    Raises:
        UsageError: the backbone was fine-tuned whole.
    """
    from pareto.models import lora_factors
    from pareto.models.causal import load_causal_lm
    from pareto.models.reference_folder import reference_folder

    folder, update = run.checked_folder(record), {}
    if not (folder / lora_factors.CONFIG).exists():
        raise UsageError(
            f"the backbone of policy {record.id!r} was fine-tuned whole, which is no adapter; export a merged model (--merge)"
        )
    base = load_causal_lm(reference_folder(run, record))[0]
    head = next(name for name, module in base.named_modules() if module is base.get_output_embeddings())
    update = {**lora_factors.read_factors(folder, base), head: _head_factors(run, folder, weights)}
    cut = {layer: lora_factors.reduced(factors, rank) for layer, factors in update.items()}
    written = lora_factors.write_adapter({name: f for name, (f, _) in cut.items()}, out)
    return written, max(lost for _, lost in cut.values())


def write_model(run: PolicySet, record: PolicyRecord, weights: np.ndarray, out: Path) -> None:
    """Write the policy at these weights as a whole model with its tokenizer; a head tied to the embedding is untied."""
    from pareto.models.adapters import load_backbone
    from pareto.models.causal import load_causal_lm, no_progress_bars
    from pareto.models.heads import base_of
    from pareto.models.reference_folder import reference_folder

    folder = run.checked_folder(record)
    reference, tokenizer = load_causal_lm(reference_folder(run, record))
    loaded = load_backbone(reference, folder)
    model = loaded.merge_and_unload() if hasattr(loaded, "merge_and_unload") else base_of(loaded)
    factors = _head_factors(run, folder, weights)
    head = copy.deepcopy(model.get_output_embeddings())
    head.weight.data = head.weight.data + (factors.scaled_b @ factors.a).to(head.weight)
    model.set_output_embeddings(head)
    model.config.tie_word_embeddings = False
    with no_progress_bars():
        model.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def _head_factors(run: PolicySet, folder: Path, weights: np.ndarray) -> Any:
    from pareto.models.conditioned import read_conditioned
    from pareto.models.lora_factors import Factors

    stored = read_conditioned(folder)
    order = [run.objectives.index(name) for name in stored.objectives]
    return Factors(stored.a, stored.scaled_b(weights[order]).contiguous())
