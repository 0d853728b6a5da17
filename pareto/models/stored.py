"""Text policies of a run folder: the reference they stand on, and the policy itself."""

from __future__ import annotations

import hashlib

from pareto.models.adapters import load_policy
from pareto.models.causal import Quantize, load_causal_lm
from pareto.models.reference_folder import reference_folder
from pareto.models.text_policy import TransformersPolicy
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet


def load_text_policy(
    run: PolicySet,
    record: PolicyRecord,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    quantize: Quantize | None = None,
) -> TransformersPolicy:
    """Load a policy stored as an adapter or as a whole model, ready to generate.

    Args:
        run: the policy set.
        record: one of its policies, whose files have been checked.
        device: where to compute.
        dtype: of the weights.
        quantize: store the base in 4 or 8 bits.
    """
    model, tokenizer = load_causal_lm(reference_folder(run, record), dtype=dtype, quantize=quantize)
    model = model if quantize else model.to(device)
    policy = load_policy(model, run.folder / "policies" / record.id)
    files = "\n".join(f"{name}={sha256}" for name, sha256 in sorted(record.files.items()))
    digest = hashlib.sha256(f"{record.id}\n{dtype} {quantize}\n{files}".encode()).hexdigest()
    return TransformersPolicy(policy, tokenizer, run.objectives, digest)
