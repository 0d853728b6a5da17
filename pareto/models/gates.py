"""Gates: what a weight vector says to every column of a weight-conditioned low-rank update.

An update conditioned on weights w is  B diag(g(w)) A x. A gate is the function g, made of parts with columns of their own;
at fixed w the update is an ordinary low-rank one. Every part is a plain function of w, so weights may differ from row to row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, final

import torch
from torch import Tensor, nn

Part = Literal["constant", "linear", "products", "mlp"]
"""What a gate can be made of.

constant: r columns at 1, the same update at all weights.
linear: r columns for each objective j at w_j, so that updates mix as rewarded soups do.
products: r columns for each pair of objectives at 4 w_i w_j, which is 1 at its largest: what is not linear between corners.
mlp: r columns at the outputs of a small network of w.
"""

HIDDEN = 32
"""Width of the network of "mlp"."""


@final
class Gate(nn.Module):
    """g: weights [..., m] -> [..., R], part by part.

    Args:
        parts: what it is made of, each at most once.
        m: objectives.
        r: columns a part has for each of its terms.
        seed: of the network's first values.

    Source: linear: CLP (Wang et al., 2024, arXiv 2407.15762) mixes per-objective updates by w; constant and linear together
    with r = 1 for the latter are the singular values of Panacea (Zhong et al., 2024, arXiv 2402.02030), which keeps A and B
    near orthogonal by a penalty and we do not; mlp: a hyper-network as in Navon et al. (2021), arXiv 2010.04104; products:
    this suite.
    """

    def __init__(self, parts: Sequence[Part], m: int, r: int, seed: int) -> None:
        super().__init__()
        self.parts, self.m, self.r = tuple(parts), m, r
        self.net: nn.Module | None = None
        if "mlp" in self.parts:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.net = nn.Sequential(nn.Linear(m, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, r))

    @property
    def columns(self) -> int:
        """R."""
        terms = {"constant": 1, "linear": self.m, "products": self.m * (self.m - 1) // 2, "mlp": 1}
        return self.r * sum(terms[part] for part in self.parts)

    def forward(self, w: Tensor) -> Tensor:
        """[..., m] -> [..., R]."""
        return torch.cat([_PARTS[part](self, w) for part in self.parts], dim=-1)

    def _constant(self, w: Tensor) -> Tensor:
        return w.new_ones(*w.shape[:-1], self.r)

    def _linear(self, w: Tensor) -> Tensor:
        return w.repeat_interleave(self.r, dim=-1)

    def _products(self, w: Tensor) -> Tensor:
        pairs = list(combinations(range(self.m), 2))
        first, second = [i for i, _ in pairs], [j for _, j in pairs]
        return (4.0 * w[..., first] * w[..., second]).repeat_interleave(self.r, dim=-1)

    def _mlp(self, w: Tensor) -> Tensor:
        assert self.net is not None  # there is one where "mlp" is a part
        return self.net(w)


_PARTS: dict[str, Callable[[Gate, Tensor], Tensor]] = {
    "constant": Gate._constant,
    "linear": Gate._linear,
    "products": Gate._products,
    "mlp": Gate._mlp,
}
