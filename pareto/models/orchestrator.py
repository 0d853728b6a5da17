"""The preference orchestrator: a small network from a prompt's features to weights over objectives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pareto import simplex
from pareto.errors import ArtifactError, ShapeError
from pareto.state import atomic

FACTS, TENSORS = "orchestrator.json", "orchestrator.safetensors"
"""Files of an orchestrator, in the folder of the policy that it steers or of the cell that trained it."""


@final
class Orchestrator(nn.Module):
    """g(x) = softmax of a multilayer perceptron on standardised features of the prompt.

    Args:
        n_features: F.
        n_objectives: m.
        widths: of the hidden layers; none is a linear map.
        seed: first values; the last layer is zero, so that an untrained orchestrator weighs all objectives alike.

    Source: the adapter of Preference Orchestrator, arXiv 2511.10656, whose exact form is not published; this one is ours.
    """

    def __init__(self, n_features: int, n_objectives: int, widths: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        self.widths = tuple(widths)
        sizes = [n_features, *widths]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
            self.out = nn.Linear(sizes[-1], n_objectives)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def standardise(self, features: np.ndarray) -> None:
        """Take mean and spread from the features of training prompts; a feature that never moves is left alone."""
        mean, std = features.mean(axis=0), features.std(axis=0)
        self.get_buffer("mean").copy_(torch.from_numpy(mean.astype(np.float32)))
        self.get_buffer("scale").copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0).astype(np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        """[n, F] -> [n, m] log-weights, normalised."""
        x = (features - self.get_buffer("mean")) / self.get_buffer("scale")
        for layer in self.hidden:
            x = torch.nn.functional.gelu(layer(x))
        return self.out(x).log_softmax(-1)

    @torch.no_grad()
    def weights(self, features: np.ndarray) -> np.ndarray:
        """[n, F] -> [n, m] float64 on the simplex."""
        w = self(torch.from_numpy(np.asarray(features, dtype=np.float32))).double().exp()
        return (w / w.sum(-1, keepdim=True)).numpy()

    def save(self, folder: Path, objectives: Sequence[str], facts: dict[str, Any]) -> None:
        """Write the orchestrator.

        Args:
            folder: where; it may hold a policy too.
            objectives: m names, in the order of the weights.
            facts: JSON-able, worth keeping.
        """
        from safetensors.torch import save

        tensors = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        atomic.write_bytes(folder / TENSORS, save(tensors))
        own = {"objectives": list(objectives), "widths": list(self.widths), **facts}
        atomic.write_json(folder / FACTS, own)


def load_orchestrator(folder: Path) -> tuple[Orchestrator, dict[str, Any]]:
    """The orchestrator in a folder, and its facts.

    Raises:
        ArtifactError: there is none, or its files do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        made = Orchestrator(len(tensors["mean"]), len(facts["objectives"]), facts["widths"])
        made.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"no whole orchestrator ({FACTS}, {TENSORS}) in {folder}: {error}") from error
    return made.eval(), facts


def blend(weights: np.ndarray, prior: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Weights of an orchestrator under a user's prior:  w proportional to prior * g(x)^strength.

    A uniform prior leaves g(x) as it is, strength 0 leaves the prior, and an objective without prior weight stays without.

    Args:
        weights: [n, m] of the orchestrator.
        prior: [m] on the simplex.
        strength: >= 0.

    Returns:
        [n, m] on the simplex; the prior itself where both share no objective.

    Raises:
        ShapeError: not as many numbers as objectives, or a negative strength.
    """
    prior = simplex.check(prior)
    if weights.shape[-1] != len(prior) or strength < 0:
        raise ShapeError(
            f"expected a prior over {weights.shape[-1]} objectives and strength >= 0; got {len(prior)} and {strength}"
        )
    # 0 ** 0 is 1: at strength 0 nothing of the orchestrator is left
    mixed = prior * weights**strength
    total = mixed.sum(axis=-1, keepdims=True)
    return np.where(total > 0, mixed / np.where(total > 0, total, 1.0), prior)
