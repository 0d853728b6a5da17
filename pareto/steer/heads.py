"""Weights between those that were trained for, served by mixing the action heads of one backbone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import nearest_record


@STEERERS.register("heads", source="Li et al. (2025), arXiv 2510.01167: mixed logits of the heads")
def heads(
    run: PolicySet,
    weights: np.ndarray,
    *,
    study_seed: int | None = None,
    extrapolate: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
) -> Any:
    """Serve any weights by the logits sum_j w_j W_j h of the heads of a run; at a corner exactly that head.

    Of whole heads the merged matrix of a weight vector is kept, so that a token costs what it costs with one head; low-rank
    heads are mixed for every row at once. Of several seeds the heads are those of the policy whose weights are nearest.

    Args:
        run: the policy set, made by `mah_dpo`.
        weights: [m], checked.
        study_seed: of the policy whose heads are taken.
        extrapolate: weights may lie outside the simplex; the policy says so.
        device: where to compute.
        dtype: of the backbone; heads are mixed in float32.

    Returns:
        a `MixedPolicy`, whose weights may be given anew for every row.

    Raises:
        UsageError: the run has no policy with heads.
        ArtifactError: a file of the policy is missing, changed or does not fit.
    """
    own = replace(
        run,
        records=tuple(
            r
            for r in run.records
            if r.kind == "heads" and r.weights is not None and study_seed in (None, r.seed)
        ),
    )
    if not own.records:
        raise UsageError(
            f"no policy of {run.folder} has action heads; train them with method mah_dpo, or steer with 'nearest'"
        )
    from pareto.core.reference import model_sha256
    from pareto.models.adapters import load_backbone
    from pareto.models.causal import load_causal_lm
    from pareto.models.fingerprint import tokenizer_fingerprint
    from pareto.models.head_mixing import HeadMixture, read_heads
    from pareto.models.heads import base_of
    from pareto.models.mixed_heads import stored_objectives
    from pareto.models.mixed_policy import MixedPolicy
    from pareto.models.reference_folder import reference_folder

    record = nearest_record(own, weights)
    folder, reference = run.checked_folder(record), reference_folder(run, record)
    model, tokenizer = load_causal_lm(reference, dtype=dtype)
    backbone = load_backbone(model.to(device), folder).eval()
    original = base_of(backbone).get_output_embeddings().weight
    mixture = HeadMixture(backbone, read_heads(folder, original.shape).to(original.device))
    names = stored_objectives(folder)
    order = [run.objectives.index(name) for name in names]
    identity = [
        "heads",
        model_sha256(reference),
        tokenizer_fingerprint(tokenizer),
        dtype,
        *(f"{name}={sha256}" for name, sha256 in sorted(record.files.items())),
    ]
    return MixedPolicy(
        mixture.eval(),
        tokenizer,
        run.objectives,
        weights,
        lambda w: w[order],
        "heads",
        tuple(f"{record.id} head {name}" for name in names),
        hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        extrapolate,
    )
