"""The reference of a text task: its model, really trained where it starts from nothing, and its tokenised pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pareto import rng
from pareto.cells import FitContext
from pareto.config import Config
from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, TrainResult, train
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.reference import cached_logps, logps_key, model_sha256
from pareto.data.pairs import PreferencePairs
from pareto.data.preferences import Preferences
from pareto.data.texts import Chat, Text, plain
from pareto.data.tokenise import Limits, Tokenised, tokenise
from pareto.errors import ArtifactError, DataError
from pareto.models.adapters import FullFineTuning, LoRA, attach
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints


class SFTConfig(Config):
    """Supervised fine-tuning before any preference is used.

    Args:
        on: "chosen" trains on responses that win some pair, "all" on every response.
        training: optimisation.
        adapter: what is trained; low-rank updates are merged into the weights afterwards.
    """

    on: Literal["chosen", "all"] = "chosen"
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = FullFineTuning()


def fine_tune(
    model: Any, pairs: PreferencePairs, config: SFTConfig, context: FitContext, *, seed: int
) -> tuple[Any, TrainResult]:
    """Maximise the likelihood of training responses, every token counting alike.

    Returns:
        The model with what it learned merged in, and what the run reports.

    Raises:
        DataError: no response to train on.
    """
    responses = np.arange(len(pairs.table.responses)) if config.on == "all" else winners(pairs)
    if not len(responses):
        raise DataError(
            "no response wins a pair, so there is nothing for sft.on 'chosen' to train on; use 'all'"
        )
    tokens = float(pairs.table.responses.lengths[responses].mean())

    def negative_log_likelihood(scored: ScoredExamples) -> tuple[Any, Mapping[str, Any]]:
        return -scored.logps[:, 0] / tokens, {}

    trained = attach(model, config.adapter, seed=rng.derive_seed("sft adapter", seed) % 2**31)
    result = train(
        trained,
        pairs.table,
        responses[:, None],
        Objective(negative_log_likelihood),
        config.training,
        seed=seed,
        dtype=context.dtype,
        hooks=Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch)),
    )
    merged = trained.merge_and_unload() if hasattr(trained, "peft_config") else trained
    return merged.eval().requires_grad_(False), result


def winners(pairs: PreferencePairs) -> np.ndarray:
    """[k] int64, responses that win at least one pair under at least one objective, in order."""
    found = [pairs.decided(name)[1] for name in pairs.objectives.names]
    return np.unique(np.concatenate(found))


def tokenise_parts(
    parts: Mapping[str, Preferences],
    tokenizer: Any,
    limits: Limits,
    positions: int,
    folder: Path | None = None,
) -> dict[str, Tokenised]:
    """Tokenise every part under the same limits.

    Args:
        parts: labelled data.
        tokenizer: the model's.
        limits: longest prompts and responses.
        positions: how many tokens the model can read.
        folder: where the ids of data whose texts stayed on the disk are written; None keeps all in memory.

    Raises:
        DataError: limits beyond the model's positions, or a part in which some objective decides no pair.
    """
    if limits.prompt_tokens + limits.response_tokens > positions:
        raise DataError(
            f"limits.prompt_tokens + limits.response_tokens is {limits.prompt_tokens + limits.response_tokens}; the model "
            f"has {positions} positions; lower the limits"
        )
    tokenised = {
        part: tokenise(data, tokenizer, limits, folder / part if folder is not None and data.stored else None)
        for part, data in parts.items()
    }
    for part, result in tokenised.items():
        for name in result.pairs.objectives.names:
            if not (np.nan_to_num(result.pairs.labels[:, result.pairs.objectives.index(name)]) != 0).any():
                raise DataError(
                    f"the {part} part has no pair with a winner under {name!r} ({len(result.pairs)} pairs); give more data or "
                    "change task.split"
                )
    return tokenised


def write_parts(
    folder: Path,
    parts: Mapping[str, Preferences],
    tokenised: Mapping[str, Tokenised],
    rewards: np.ndarray,
    model: Any,
    dtype: str,
) -> None:
    """Store pairs, prompts, rewards and reference log-probabilities of all parts beside the saved model.

    Args:
        folder: holds the saved reference model.
        parts: labelled data.
        tokenised: the same, tokenised.
        rewards: [n_responses of the training part, m] float64.
        model: the reference, on its device.
        dtype: arithmetic of the log-probabilities that training will ask for.
    """
    digest = model_sha256(folder)
    for part, result in tokenised.items():
        result.pairs.save(folder / pairs_file(part))
        table = result.pairs.table
        for arithmetic in {"float32", dtype} if part == "train" else {"float32"}:
            key = logps_key(digest, table, arithmetic)
            cached_logps(folder, key, lambda t=table, a=arithmetic: response_logps(model, t, dtype=a))
    np.save(folder / "rewards.npy", rewards[tokenised["train"].responses], allow_pickle=False)
    texts = {
        part: [_json(parts[part].prompts[i]) for i in result.prompts] for part, result in tokenised.items()
    }
    atomic.write_json(folder / "prompts.json", texts)
    counts = {part: asdict(result.counts) for part, result in tokenised.items()}
    atomic.write_json(folder / "reference.json", {"sha256": digest, "tokens": counts})


def pairs_file(part: str) -> str:
    """Name of a part's file of tokenised pairs."""
    return "pairs.npz" if part == "train" else f"pairs-{part}.npz"


def read_prompts(folder: Path, part: str) -> list[str]:
    """The prompts of a part, as people read them, in the order of its table."""
    texts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))[part]
    return [t if isinstance(t, str) else "\n\n".join(m["content"] for m in t) for t in texts]


def reference_logps(folder: Path, pairs: PreferencePairs) -> np.ndarray:
    """[n_responses] float64, nats: log-probabilities under the reference, as stored in its folder.

    Raises:
        ArtifactError: the folder holds none for these pairs.
    """
    digest = json.loads((folder / "reference.json").read_text())["sha256"]

    def missing() -> np.ndarray:
        raise ArtifactError(
            f"{folder} should hold the reference log-probabilities of its pairs and does not; it is broken or changed: "
            "sweep into a new folder"
        )

    return sums(pairs.table, cached_logps(folder, logps_key(digest, pairs.table, "float32"), missing))


def _json(text: Text) -> Any:
    return [m.to_json() for m in text.messages] if isinstance(text, Chat) else plain(text)
