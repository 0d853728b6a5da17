"""The lab's reference model (a small Llama, really trained on a corpus) and the preference pairs sampled from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field

from pareto import rng
from pareto.config import Config
from pareto.core.loop import Hooks, TrainConfig, TrainResult, train
from pareto.core.objective import Objective, ScoredExamples
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.objectives import Objectives
from pareto.tasks.lab import language
from pareto.tasks.lab.world import World


class ReferenceConfig(Config):
    """Size and supervised training of the lab's reference model."""

    hidden: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    corpus: int = Field(default=30_000, ge=100, description="replies in the corpus")
    train: TrainConfig = TrainConfig(steps=800, batch_size=128, lr=5e-3)

    def parameters(self, phrases: int) -> int:
        """About how many the model has: attention 4 h^2 and a gated layer 6 h^2 each, an embedding and a head.

        Args:
            phrases: of replies; those of prompts, about 40, come on top.
        """
        return 10 * self.layers * self.hidden**2 + 2 * (phrases + 40) * self.hidden


def make_model(config: ReferenceConfig, tokenizer: Any, seed: int) -> Any:
    """A Llama of the configured size with seeded initial weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(rng.derive_seed("lab", seed, "initial weights") % 2**31)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden,
                intermediate_size=2 * config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                max_position_embeddings=64,
                pad_token_id=language.PAD,
                bos_token_id=language.BOS,
                eos_token_id=language.EOS,
                tie_word_embeddings=False,
            )
        )


def fit_reference(
    model: Any,
    world: World,
    tokenizer: Any,
    config: ReferenceConfig,
    *,
    seed: int,
    hooks: Hooks | None = None,
) -> TrainResult:
    """Train the model on replies to training prompts drawn from the world's corpus distribution."""
    draw = rng.generator("lab", seed, "corpus")
    train_prompts = world.split("selection")
    p = np.exp(world.corpus_logps(train_prompts))
    prompt = draw.integers(len(train_prompts), size=config.corpus)
    response = _sample_rows(p, prompt, draw)
    table = ResponseTable(
        Ragged.of(language.prompt_ids(world, tokenizer)),
        Ragged.of(language.response_ids(world, tokenizer)[response]),
        train_prompts[prompt],
    )

    def negative_log_likelihood(scored: ScoredExamples) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return -(scored.logps[:, 0] / scored.lengths[:, 0]), {}

    return train(
        model,
        table,
        np.arange(config.corpus)[:, None],
        Objective(negative_log_likelihood),
        config.train,
        seed=seed,
        hooks=hooks,
    )


class PairsConfig(Config):
    """How preference pairs are sampled and labelled."""

    n: int = Field(default=100_000, ge=1, description="pairs sampled from the reference on training prompts")
    label_noise: float = Field(default=0.0, ge=0, lt=0.5)
    tie_rate: float = Field(default=0.0, ge=0, lt=1)
    missing_rate: float = Field(default=0.0, ge=0, lt=1)
    users: int = Field(default=0, ge=0)
    seed: int = 0


def sample_pairs(
    world: World, ref_logps: np.ndarray, tokenizer: Any, objectives: Objectives, config: PairsConfig
) -> tuple[PreferencePairs, np.ndarray]:
    """Pairs of different replies drawn from the reference, labelled by Bradley-Terry under the true rewards.

    Per-objective labels: noise flips a share of them, ties are the pairs with the smallest reward gap, missing ones are
    NaN. Where there are users, each pair also carries the overall choice of one user, whose group's taste times the
    prompt's importance weighs the objectives; the first group has ten times as many users as any other.

    Args:
        world: prompts, responses, rewards.
        ref_logps: [P, Y] enumerated reference.
        tokenizer: the lab's.
        objectives: names of the world's m objectives.
        config: how many and how labelled.

    Returns:
        the pairs, and [n_responses] int64, the enumerated index of each response in their table.
    """
    draw = rng.generator("lab", config.seed, "pairs")
    train_prompts = world.split("selection")
    p = np.exp(ref_logps[train_prompts])
    prompt = draw.integers(len(train_prompts), size=config.n)
    a, b = (_sample_rows(p, prompt, draw) for _ in range(2))
    while (same := a == b).any():
        b[same] = _sample_rows(p, prompt[same], draw)
    rewards = world.rewards()[:, train_prompts]
    gap = (rewards[:, prompt, a] - rewards[:, prompt, b]).T  # [n, m]
    labels = _bradley_terry(gap, draw)
    labels[draw.random(gap.shape) < config.label_noise] *= -1
    if config.tie_rate:
        labels[np.abs(gap) <= np.quantile(np.abs(gap), config.tie_rate, axis=0)] = 0.0
    labels[draw.random(gap.shape) < config.missing_rate] = np.nan
    columns = {}
    if config.users:
        user = draw.integers(config.users, size=config.n)
        group = _group_of_users(len(world.tastes), config.users)[user]
        care = world.tastes[group] * world.importance[train_prompts[prompt]]
        choice = _bradley_terry((gap * care).sum(1) / care.sum(1), draw)
        columns = {"user": user, "group": group, "choice": choice}

    # Every reply of every prompt that occurs, once.
    n_replies = len(world.responses)
    keys, where = np.unique(
        np.concatenate([prompt * n_replies + a, prompt * n_replies + b]), return_inverse=True
    )
    owner, response = np.divmod(keys, n_replies)
    table = ResponseTable(
        Ragged.of(language.prompt_ids(world, tokenizer)),
        Ragged.of(language.response_ids(world, tokenizer)[response]),
        train_prompts[owner],
    )
    return PreferencePairs(
        objectives, table, where[: config.n], where[config.n :], labels, **columns
    ), response


def _bradley_terry(gap: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """1 where the first of a pair with this reward gap won the draw, -1 where the second did; float32."""
    return np.where(draw.random(gap.shape) < 1.0 / (1.0 + np.exp(-gap)), 1.0, -1.0).astype(np.float32)


def _group_of_users(groups: int, users: int) -> np.ndarray:
    """[users] group of each user: ten in the first group for one in every other."""
    share = np.array([10.0] + [1.0] * (groups - 1))
    return np.searchsorted(np.cumsum(share / share.sum()), (np.arange(users) + 0.5) / users)


def _sample_rows(p: np.ndarray, rows: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """One column index per row index, drawn from that row's distribution."""
    cumulative = np.cumsum(p, axis=1)
    u = draw.random(len(rows)) * cumulative[rows, -1]
    chosen = np.empty(len(rows), dtype=np.int64)
    for r in np.unique(rows):
        mine = rows == r
        chosen[mine] = np.searchsorted(cumulative[r], u[mine], side="right")
    return chosen.clip(max=p.shape[1] - 1)
