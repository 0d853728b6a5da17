"""The exact mixture of what policies changed: one model, any weights, another vector in every row."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.members import Among, Members, members


@STEERERS.register("soup", source="Rame et al. (2023), Rewarded soups, arXiv 2306.04488")
def soup(
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
    """Serve  theta_ref + sum_k c_k (theta_k - theta_ref), the exact mixture of parameter changes.

    Adapters: sum_k c_k scale_k B_k A_k inside the forward pass, which is not what averaging their factors gives (see
    `factor_averaging`). Whole models: the mixed parameters. Nothing is measured between the policies: a straight path
    between parameters need not be a straight path between values.

    Args:
        run: the policy set.
        weights: [m], checked.
        among: "corners", "all" (the nearest measured policies around the weights), or ids.
        study_seed: of the mixed policies.
        extrapolate: weights may lie outside the simplex; the policy says so.
        device: where to compute.
        dtype: of the base; mixing is done in float32.
        quantize: store the base in 4 or 8 bits.

    Returns:
        a `MixedPolicy`.

    Raises:
        UsageError: no exact mixture of these policies; says why.
    """
    chosen = members(run, among, study_seed)
    return policy(run, chosen, weights, "soup", *soup_model(chosen, device, dtype, quantize), extrapolate)


def soup_model(chosen: Members, device: str, dtype: str = "float32", quantize: Any = None) -> tuple[Any, Any]:
    """(mixture, tokenizer) of members, by their kind."""
    from pareto.models.causal import load_causal_lm
    from pareto.models.lora_factors import read_factors
    from pareto.models.mixing import AdapterMixture
    from pareto.models.parameter_mixing import ParameterMixture

    reference, tokenizer = load_causal_lm(chosen.reference, dtype=dtype, quantize=quantize)
    reference = reference if quantize else reference.to(device)
    if chosen.kind == "adapter":
        return AdapterMixture(
            reference, [read_factors(folder, reference) for folder in chosen.folders]
        ), tokenizer
    return ParameterMixture(reference, chosen.folders), tokenizer


def policy(
    run: PolicySet,
    chosen: Members,
    weights: np.ndarray,
    method: str,
    model: Any,
    tokenizer: Any,
    extrapolate: bool,
) -> Any:
    """The mixture as a policy with these weights."""
    from pareto.core.reference import model_sha256
    from pareto.models.fingerprint import tokenizer_fingerprint
    from pareto.models.mixed_policy import MixedPolicy

    files = [f"{name}={sha256}" for r in chosen.records for name, sha256 in sorted(r.files.items())]
    identity = [
        method,
        model_sha256(chosen.reference),
        tokenizer_fingerprint(tokenizer),
        str(model.dtype),
        *files,
    ]
    mixed = MixedPolicy(
        model.eval(),
        tokenizer,
        run.objectives,
        weights,
        lambda w: chosen.shares(w, extrapolate=extrapolate),
        method,
        tuple(r.id for r in chosen.records),
        hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        extrapolate,
    )
    mixed.rows(None, 1)  # weights that the policies do not reach are an error now, not at the first prompt
    return mixed


def refuse_outside(method: str, extrapolate: bool, why: str) -> None:
    """Refuse extrapolation for a method that has none."""
    if extrapolate:
        raise UsageError(f"method {method!r} has no extrapolation: {why}")
