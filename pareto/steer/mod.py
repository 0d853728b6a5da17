"""Multi-objective decoding: every policy says what comes next, and one rule makes one distribution of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.members import Among, members
from pareto.steer.rules import RULES
from pareto.steer.soup import policy, refuse_outside


@STEERERS.register("logits", source="Shi et al. (2024), Decoding-time alignment, arXiv 2406.18853")
@STEERERS.register("mod", source="Shi et al. (2024), Decoding-time alignment, arXiv 2406.18853")
def mod(
    run: PolicySet,
    weights: np.ndarray,
    *,
    divergence: str = "reverse_kl",
    among: Among = "corners",
    study_seed: int | None = None,
    extrapolate: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    quantize: Any = None,
    **options: Any,
) -> Any:
    """Serve the policies' next-token distributions mixed by the rule of a divergence; reverse_kl is the geometric mean.

    Where each policy k is the optimum of E[r_k] - beta KL(pi || pi_ref), the whole-reply geometric mean is the optimum of
    the weighted reward; token by token it is normalised at every step instead. A reply costs as many rows as policies
    have a share. Temperature and filters act on the mixture.

    Args:
        run: the policy set.
        weights: [m], checked.
        divergence: "reverse_kl", "forward_kl", "jsd" or "alpha".
        among: as in `soup`.
        study_seed: of the mixed policies.
        extrapolate: weights may lie outside the simplex (reverse_kl only); the policy says so.
        device: where to compute.
        dtype: of the base; mixing is done in float32.
        quantize: store the base in 4 or 8 bits.
        options: of the divergence (`alpha`).

    Returns:
        a `MixedPolicy`.

    Raises:
        UsageError: policies that cannot be run side by side, or an option the divergence does not know.
    """
    from pareto.models.adapters import load_policy
    from pareto.models.causal import load_causal_lm
    from pareto.models.decoding_mixture import AdapterRows, DecodingMixture, WholeModels
    from pareto.models.lora_factors import read_factors
    from pareto.models.mixing import AdapterMixture

    try:
        rule = RULES.get(divergence)(**options)
    except TypeError as error:
        raise UsageError(f"divergence {divergence!r} does not take these options: {error}") from error
    if not rule.signed:
        refuse_outside(f"mod with {divergence}", extrapolate, "its means are of positive weights")
    chosen = members(run, among, study_seed)
    reference, tokenizer = load_causal_lm(chosen.reference, dtype=dtype, quantize=quantize)
    reference = reference if quantize else reference.to(device)
    if chosen.kind == "adapter":
        parts = AdapterRows(AdapterMixture(reference, [read_factors(f, reference) for f in chosen.folders]))
    else:
        parts = WholeModels([load_policy(reference, folder) for folder in chosen.folders], reference)
    model = DecodingMixture(parts, rule.mix, rule.needs_reference)
    name = (
        "mod"
        if divergence == "reverse_kl"
        else f"mod ({divergence}{''.join(f', {k}={v}' for k, v in options.items())})"
    )
    return policy(run, chosen, weights, name, model, tokenizer, extrapolate)
