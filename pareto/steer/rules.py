"""Rules by which next-token distributions of several policies become one, each from the divergence that holds the policies.

With f the divergence to the reference under which each pi_k was trained, the policy for mixed rewards is

    pi(y) prop. to  pi_ref(y) (f')^-1( sum_k w_k f'(pi_k(y) / pi_ref(y)) ),

applied token by token. The additive constant inside (f')^-1 that only f = x log x can take out is left at zero and the
result normalised, as the paper's closed forms do; at a vertex every rule gives that policy. Everything is float32, and a
policy with weight 0 is left out before anything is multiplied, so that a token it forbids stays possible.

Source: Shi et al. (2024), Decoding-time language model alignment with multiple objectives, arXiv 2406.18853, Table 1.
Differences: alpha-divergences keep the exponent 1 / alpha, without which sampling has another temperature; Jensen-Shannon is
its own rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pareto.errors import UsageError
from pareto.models.mixing_rules import RULES, Rule

if TYPE_CHECKING:
    from torch import Tensor

SOURCE = "Shi et al. (2024), arXiv 2406.18853, Table 1"


@RULES.register("reverse_kl", source=SOURCE)
def reverse_kl() -> Rule:
    """Weighted geometric mean: log pi = sum_k w_k log pi_k + (1 - sum w) log pi_ref + const; f(x) = x log x."""

    def mix(logps: Tensor, weights: Tensor, ref_logps: Tensor | None) -> Tensor:
        total = _weighted(logps, weights)
        if ref_logps is None:
            return total
        return total + _weighted(ref_logps[None], 1.0 - weights.sum(0, keepdim=True))

    return Rule(mix, signed=True)


@RULES.register("alpha", source=SOURCE)
def alpha_divergence(alpha: float = 0.5) -> Rule:
    """Power mean: pi prop. to (sum_k w_k pi_k^-alpha)^(-1/alpha); 0 < alpha; tends to reverse_kl as alpha tends to 0.

    Args:
        alpha: > 0; 1 is forward_kl.

    Raises:
        UsageError: alpha is not positive.
    """
    if not alpha > 0:
        raise UsageError(
            f"alpha of an alpha-divergence must be > 0; got {alpha}; its limit at 0 is reverse_kl"
        )

    def mix(logps: Tensor, weights: Tensor, ref_logps: Tensor | None) -> Tensor:
        import torch

        terms = weights.log()[..., None] - alpha * logps
        terms = torch.where((weights == 0)[..., None], -torch.inf, terms)
        return -terms.logsumexp(0) / alpha

    return Rule(mix)


@RULES.register("forward_kl", source=SOURCE)
def forward_kl() -> Rule:
    """Weighted harmonic mean: pi prop. to (sum_k w_k / pi_k)^-1; f(x) = -log x."""
    return alpha_divergence(1.0)


@RULES.register("jsd", source=SOURCE)
def jensen_shannon() -> Rule:
    """Jensen-Shannon: pi prop. to pi_ref / (prod_k (1 + pi_ref / pi_k)^w_k - 1); f(x) = x log x - (x + 1) log((x + 1) / 2)."""

    def mix(logps: Tensor, weights: Tensor, ref_logps: Tensor | None) -> Tensor:
        import torch

        assert ref_logps is not None  # needs_reference
        s = _weighted(torch.nn.functional.softplus(ref_logps - logps), weights)
        s = s.clamp(min=torch.finfo(s.dtype).tiny)
        mixed = ref_logps - (s + torch.log(-torch.expm1(-s)))  # log(expm1(s)) without overflow
        return torch.where(ref_logps == -torch.inf, ref_logps, mixed)

    return Rule(mix, needs_reference=True)


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """sum_k w_k values_k, where 0 * infinity is 0."""
    import torch

    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    return torch.where((weights == 0)[..., None], zero, weights[..., None] * values).sum(0)
