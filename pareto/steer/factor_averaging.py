"""Averaged LoRA factors: what much of the literature's code does when it says soup, under a name of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.members import Among, members
from pareto.steer.soup import policy


@STEERERS.register(
    "soup_factors",
    source="released code of Rame et al. (2023), arXiv 2306.04488: averaged adapter parameters",
)
@STEERERS.register(
    "factor_averaging",
    source="released code of Rame et al. (2023), arXiv 2306.04488: averaged adapter parameters",
)
def factor_averaging(
    run: PolicySet,
    weights: np.ndarray,
    *,
    among: Among = "corners",
    study_seed: int | None = None,
    extrapolate: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    quantize: Any = None,
) -> Any:
    """Serve  scale (sum_k c_k B_k) (sum_k c_k A_k): the average of saved factors, which is another model than `soup`.

    It holds cross terms c_i c_j B_i A_j of factors that were never trained together, and equals the exact mixture at the
    vertices only (or where all policies share A or B). For parity with published numbers; prefer `soup`.

    Args:
        run: the policy set.
        weights: [m], checked.
        among: as in `soup`.
        study_seed: of the mixed policies.
        extrapolate: weights may lie outside the simplex; the policy says so.
        device: where to compute.
        dtype: of the base; mixing is done in float32.
        quantize: store the base in 4 or 8 bits.

    Returns:
        a `MixedPolicy`.

    Raises:
        UsageError: not adapters, or of different ranks or scales, whose factors have no average.
    """
    from pareto.models.causal import load_causal_lm
    from pareto.models.lora_factors import read_factors
    from pareto.models.mixing import AdapterMixture, average_of_factors

    chosen = members(run, among, study_seed)
    if chosen.kind != "adapter":
        raise UsageError(
            f"factors are averaged of adapters; the policies are of kind {chosen.kind!r}: use method 'soup'"
        )
    reference, tokenizer = load_causal_lm(chosen.reference, dtype=dtype, quantize=quantize)
    reference = reference if quantize else reference.to(device)
    updates = [read_factors(folder, reference) for folder in chosen.folders]
    for layer in {layer for update in updates for layer in update}:
        kinds = {(u[layer].rank, u[layer].scale) for u in updates if layer in u}
        if len(kinds) > 1:
            raise UsageError(
                f"averaged factors need one rank and one scale; layer {layer} has (rank, scale) {sorted(kinds)}: use method 'soup'"
            )
    model = AdapterMixture(reference, updates, combine=average_of_factors)
    return policy(run, chosen, weights, "factor_averaging", model, tokenizer, extrapolate)
