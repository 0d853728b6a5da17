"""Policies that are told their weights in front of the prompt."""

from __future__ import annotations

import hashlib

from pareto.errors import ArtifactError
from pareto.models.causal import load_causal_lm
from pareto.models.prompt_policy import PromptPolicy, load_conditioned
from pareto.models.reference_folder import reference_folder
from pareto.policy_record import PolicyRecord
from pareto.policy_set import LOADERS, PolicySet


@LOADERS.register("prompt", source="Wang et al. (2024), arXiv 2402.18571; safetensors beside PEFT's layout")
def load_prompt_policy(
    run: PolicySet, record: PolicyRecord, *, device: str = "cpu", dtype: str = "float32"
) -> PromptPolicy:
    """Load a policy with the weights it was measured at; calls may give others.

    Args:
        run: the policy set.
        record: one of its policies, whose files have been checked.
        device: where to compute.
        dtype: of the weights.

    Raises:
        ArtifactError: the record states no weights, or the policy is incomplete.
    """
    if record.weights is None:
        raise ArtifactError(
            f"policy {record.id!r} of {run.folder} is told its weights, and its record states none"
        )
    reference, tokenizer = load_causal_lm(reference_folder(run, record), dtype=dtype)
    model, conditioning = load_conditioned(reference.to(device), run.folder / "policies" / record.id)
    # Policies of one training differ in what they are told only, so that they share caches.
    files = sorted(sha256 for name, sha256 in record.files.items() if name != "policy.json")
    digest = hashlib.sha256("\n".join(["prompt", dtype, *files]).encode()).hexdigest()
    weights = run.objectives.vector(record.weights)
    return PromptPolicy(model, tokenizer, run.objectives, weights, conditioning, digest)
