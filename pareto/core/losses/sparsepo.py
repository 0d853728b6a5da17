"""SparsePO: log-ratio and divergence of every token, each through a mask that decides which tokens count."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, TokenMasks, needs, required
from pareto.core.losses.module import LOSS_MODULES, LossModule, Setting
from pareto.core.packing import PackedRows
from pareto.core.token_extras import LiveReference, ReferenceKL
from pareto.errors import ConfigError

SOURCE = "Christopoulou et al. (2024), SparsePO, arXiv 2410.05102"
Which = Literal["reward", "kl"]
KINDS: tuple[Which, ...] = ("reward", "kl")
COLUMNS = (
    "chosen_token_logps",
    "rejected_token_logps",
    "ref_chosen_token_logps",
    "ref_rejected_token_logps",
    "chosen_token_kl",
    "rejected_token_kl",
    "masks",
)


@LOSSES.register("sparsepo", source=f"{SOURCE}; official code")
@needs(*COLUMNS)
def sparsepo(pairs: PairLogps, *, beta: float = 0.1, l1_reward: float = 0.0, l1_kl: float = 0.0) -> Tensor:
    """-log sigmoid(beta (u - d)) + l1_reward |m_u| + l1_kl |m_d|.

        u = sum_t m_u(t) log-ratio(t)                    chosen minus rejected
        d = - sum_t m_d(t) KL(pi_ref || pi)(t)           chosen minus rejected

    Args:
        pairs: log-probabilities of B pairs with token log-probabilities, token divergences and `masks`.
        beta: > 0, 1/nats.
        l1_reward: >= 0, price of the sum of both responses' reward masks.
        l1_kl: >= 0, price of the sum of both responses' divergence masks.

    Returns:
        [B] float, per-pair loss in nats, not reduced. Masks of 1 and 0 give DPO, masks of 1 and 1 give TDPO1.

    Source: the official code (beta 0.1, no L1 price); differences: none.
    """
    columns = {name: required(pairs, name) for name in COLUMNS}
    masks: TokenMasks = columns["masks"]
    chosen = columns["chosen_token_logps"] - columns["ref_chosen_token_logps"].detach()
    rejected = columns["rejected_token_logps"] - columns["ref_rejected_token_logps"].detach()
    gap = (masks.chosen_reward * chosen).sum(-1) - (masks.rejected_reward * rejected).sum(-1)
    divergence = (masks.rejected_kl * columns["rejected_token_kl"]).sum(-1) - (
        masks.chosen_kl * columns["chosen_token_kl"]
    ).sum(-1)
    price = l1_reward * (masks.chosen_reward + masks.rejected_reward).sum(-1)
    price = price + l1_kl * (masks.chosen_kl + masks.rejected_kl).sum(-1)
    return -F.logsigmoid(beta * (gap - divergence)) + price


LOSSES.register(
    "sparsepo_activation",
    source=f"{SOURCE}, masks from activations; standardisation from memory",
    status="unverified",
)(sparsepo)


class SparseMasks(LossModule):
    """Masks of every response token out of the reference's hidden states.

    Args:
        setting: of the run, with a live reference.

    Raises:
        ConfigError: no live reference.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        if setting.reference is None:
            raise ConfigError(
                "sparsepo reads the reference's hidden states and whole distributions; give a live reference model"
            )
        self._reference = [
            setting.reference
        ]  # in a list, so that the model does not become part of the module

    @property
    def reference(self) -> LiveReference:
        """The live reference."""
        return self._reference[0]

    def seen(self, states: Tensor) -> Tensor:
        """The hidden states as the masks see them, worked out once a micro-batch."""
        return states

    @abstractmethod
    def token_mask(self, states: Tensor, which: Which) -> Tensor:
        """[n, L, d] hidden states of all layers -> [n] >= 0."""

    def token_extras(self) -> Mapping[str, Any]:
        """Both masks, and the divergence."""
        return {
            "reward_mask": MaskExtra(self, "reward"),
            "kl_mask": MaskExtra(self, "kl"),
            "reference_kl": ReferenceKL(self.reference),
        }

    def complete(self, pairs: PairLogps, extras: Mapping[str, Any]) -> PairLogps:
        """The batch with masks and divergences."""
        (chosen, rejected), (chosen_kl, rejected_kl) = extras["reward_mask"], extras["kl_mask"]
        return replace(
            pairs,
            masks=TokenMasks(chosen, rejected, chosen_kl, rejected_kl),
            chosen_token_kl=extras["reference_kl"][0],
            rejected_token_kl=extras["reference_kl"][1],
        )

    def advance(self, pairs: PairLogps) -> None:
        """There is no state beside the parameters."""


@final
class MaskExtra:
    """A mask as a figure of every token, with gradient into the module's parameters."""

    def __init__(self, masks: SparseMasks, which: Which) -> None:
        self._masks = masks
        self._which: Which = which

    def prepare(self, rows: PackedRows) -> Tensor:
        """[N, L, d] hidden states of the reference."""
        return self._masks.seen(self._masks.reference.states(rows))

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n] mask of the tokens."""
        return self._masks.token_mask(prepared[tokens], self._which)


@final
@LOSS_MODULES.register("sparsepo", source=f"{SOURCE}; official code")
class LearnedMasks(SparseMasks):
    """relu of a mixture over layers of a linear function of each layer's hidden state; one mask or two.

    Masks start at 1 for every token, so training starts as TDPO1 and no mask starts dead.

    Args:
        setting: of the run, with a live reference.
        shared: one mask for log-ratio and divergence instead of two.
        dropout: of the hidden states, 0.01 in the official code.
    """

    def __init__(self, setting: Setting, *, shared: bool = False, dropout: float = 0.01) -> None:
        super().__init__(setting)
        layers, width = self.reference.n_layers, self.reference.width
        self.shared, self.dropout = shared, dropout
        draw = torch.Generator().manual_seed(setting.seed)
        kinds = KINDS[:1] if shared else KINDS
        self.weight = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(layers, width, generator=draw) * 1e-3 / width**0.5) for k in kinds}
        )
        self.mixture = nn.ParameterDict({k: nn.Parameter(torch.full((layers,), 1 / layers)) for k in kinds})
        self.bias = nn.ParameterDict({k: nn.Parameter(torch.ones(())) for k in kinds})

    def seen(self, states: Tensor) -> Tensor:
        """With dropout while training; drawn once, since a token may be scored twice."""
        return F.dropout(states, self.dropout, self.training)

    def token_mask(self, states: Tensor, which: Which) -> Tensor:
        """[n, L, d] -> [n]."""
        kind = KINDS[0] if self.shared else which
        by_layer = (states * self.weight[kind]).sum(-1)
        return (by_layer @ self.mixture[kind] + self.bias[kind]).relu()


@final
@LOSS_MODULES.register(
    "sparsepo_activation",
    source=f"{SOURCE}, masks from activations; standardisation from memory",
    status="unverified",
)
class ActivationMasks(SparseMasks):
    """Mean activation of each layer, standardised over the tokens at hand, averaged over layers, through a sigmoid.

    Nothing is learned, and both masks are the same.
    """

    def token_mask(self, states: Tensor, which: Which) -> Tensor:
        """[n, L, d] -> [n] in (0, 1)."""
        activation = states.mean(-1)
        centred = activation - activation.mean(0)
        spread = centred.square().mean(0).sqrt().clamp(min=1e-6)
        return (centred / spread).mean(-1).sigmoid()
