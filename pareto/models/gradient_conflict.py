"""Where objectives pull a model in different directions, before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pareto import rng
from pareto.core.logps import make_scorer
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.packing import pack
from pareto.core.step import backward
from pareto.data.pairs import PreferencePairs
from pareto.models.adapters import LoRA, attach


@dataclass(frozen=True)
class GradientConflict:
    """Cosines between the objectives' first gradients.

    Args:
        cosine: [m, m]; off the diagonal the cosine of two objectives' gradients, on it that of the gradients of two halves
            of one objective's pairs: what the same objective reaches with itself on so few pairs.
        pairs: objective -> pairs used.
        head: [m, m] likewise, of the gradients of the language-model head: which tokens the objectives want, where `cosine`
            asks what the layers below should compute. None where the head is no plain matrix.
    """

    cosine: np.ndarray
    pairs: Mapping[str, int]
    head: np.ndarray | None = None


def gradient_conflict(
    model: Any, pairs: PreferencePairs, *, n_pairs: int = 256, batch_pairs: int = 8, seed: int = 0
) -> GradientConflict:
    """Compare the first DPO gradients of all objectives, with respect to a fresh low-rank adapter.

    At the start policy and reference are equal, so the gradient of the DPO loss is -beta/2 times the mean of
    grad log pi(winner) - grad log pi(loser): its direction needs neither beta nor a reference.

    Args:
        model: a causal model on its device; it gets an adapter.
        pairs: tokenised pairs; every objective decides at least two.
        n_pairs: at most so many pairs of each objective are used, drawn by the seed.
        batch_pairs: pairs per backward pass.
        seed: of the adapter and the draw.

    Source: cosine of task gradients as in Yu et al. (2020), arXiv 2001.06782; differences: low-rank parameters, and the
    two-halves cosine as a yardstick.
    """
    model = attach(model, LoRA(), seed=rng.derive_seed("conflict", seed) % 2**31).eval()
    head = _free_head(model)
    at_head = np.concatenate([np.full(p.numel(), p is head) for p in model.parameters() if p.requires_grad])
    names = pairs.objectives.names
    halves, counts = [], {}
    for name in names:
        _, chosen, rejected = pairs.decided(name)
        drawn = rng.generator("conflict", seed, name).permutation(len(chosen))[:n_pairs]
        counts[name] = len(drawn)
        examples = np.column_stack([chosen, rejected])[drawn]
        halves.append([_gradient(model, pairs, half, batch_pairs) for half in np.array_split(examples, 2)])
    return GradientConflict(
        _cosines(halves, ~at_head), counts, None if head is None else _cosines(halves, at_head)
    )


def _free_head(model: Any) -> Tensor | None:
    """Let the head have a gradient of its own: a copy where it is tied to the embedding, since only the head is asked about."""
    base = model.get_base_model()
    head = base.get_output_embeddings()
    if type(head) is not nn.Linear or not head.weight.is_floating_point():
        return None
    own = copy.deepcopy(head).requires_grad_(False)
    own.weight.requires_grad_(True)
    base.set_output_embeddings(own)
    return own.weight


def _cosines(halves: Sequence[Sequence[np.ndarray]], where: np.ndarray) -> np.ndarray:
    """[m, m] cosines of the objectives' gradients on some of the parameters; two halves on the diagonal."""
    own = [[half[where] for half in pair] for pair in halves]
    return np.array(
        [
            [_cosine(a[0], a[1]) if i == j else _cosine(sum(a), sum(b)) for j, b in enumerate(own)]
            for i, a in enumerate(own)
        ]
    )


def _gradient(model: Any, pairs: PreferencePairs, examples: np.ndarray, batch_pairs: int) -> np.ndarray:
    """[parameters] gradient of the summed difference of winners' and losers' log-probabilities, negated."""
    scorer = make_scorer(model)
    device = next(model.parameters()).device
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.zero_grad(set_to_none=True)

    def difference(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
        return scored.logps[:, 1] - scored.logps[:, 0], {}

    for start in range(0, len(examples), batch_pairs):
        batch = examples[start : start + batch_pairs]
        rows = pack(
            pairs.table,
            batch,
            pad_token_id=scorer.pad_token_id,
            share_prompts=scorer.share_prompts,
            device=device,
        )
        backward(scorer, rows, torch.arange(len(batch), device=device), Objective(difference), divisor=1.0)
    flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().double().cpu() for p in parameters]
    model.zero_grad(set_to_none=True)
    return torch.cat(flat).numpy()


def _cosine(a: Any, b: Any) -> float:
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / scale) if scale > 0 else float("nan")
