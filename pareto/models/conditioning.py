"""Numbers before a prompt: what a policy that reads its weights is told, in a form that no text can spell.

A system prompt that says "helpful: 71, brief: -70" works as long as users do not write such prompts themselves. Here every
statement "objective j: number n" is one token of its own, behind the tokenizer's vocabulary: m of them, in the order of
the objectives, stand before the prompt. Their embeddings are trained with the policy. No text has these ids, whatever it
says, and every number has the same form: a whole number of units from -100 to 100.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from pareto import rng, simplex
from pareto.config import Config
from pareto.errors import ArtifactError, ConfigError
from pareto.models.heads import base_of
from pareto.state import atomic

FACTS, TENSORS = "conditioning.json", "conditioning.safetensors"
"""Files of the conditioning, beside those of the policy."""
MOST = 100
"""Numbers go from -MOST to MOST."""
WAVES = 8
"""Random waves that make neighbouring numbers begin alike."""


class Directions(Config):
    """A unit direction is said in hundredths.

    Source: Wang et al. (2024), arXiv 2402.18571, whose system prompt gives 100 v, rounded.
    """

    kind: Literal["directions"] = "directions"

    def units(self, weights: np.ndarray) -> np.ndarray:
        """[m] whole numbers for a unit direction [m].

        Raises:
            SimplexError: a vector of another length than 1.
        """
        return np.rint(MOST * simplex.check_direction(weights)).astype(np.int64)


class Targets(Config):
    """Weights on the simplex become the rewards that are asked for, in tenths of a standard deviation.

    Args:
        low: standardised reward that is asked for at weight 0, of each objective.
        high: and at the largest weight.
        rule: "linf": the objectives of the largest weight are asked for `high`, others for low + min(m w, 1) (high - low);
            "l2": low + w / |w| (high - low); "linear": low + w (high - low).

    Source: Yang et al. (2024), rewards in context, arXiv 2402.10207, and its code, where "linf" is the default. Differences:
    its low and high are the extremes of 50,000 Gaussian draws that no seed fixes; any number of objectives.
    """

    kind: Literal["targets"] = "targets"
    low: tuple[float, ...] = Field(min_length=1)
    high: tuple[float, ...] = Field(min_length=1)
    rule: Literal["linf", "l2", "linear"] = "linf"

    @model_validator(mode="after")
    def _ranges(self) -> Targets:
        if len(self.low) != len(self.high) or any(a >= b for a, b in zip(self.low, self.high)):
            raise ValueError(f"high must lie above low for every objective; got {self.low} and {self.high}")
        return self

    def rewards(self, weights: np.ndarray) -> np.ndarray:
        """[m] standardised rewards that are asked for at weights [m].

        Raises:
            SimplexError: weights off the simplex.
        """
        w = simplex.check(weights)
        share = {
            "linf": np.where(w >= w.max(), 1.0, np.minimum(len(w) * w, 1.0)),
            "l2": w / np.linalg.norm(w),
            "linear": w,
        }[self.rule]
        low, high = np.array(self.low), np.array(self.high)
        return low + share * (high - low)

    def units(self, weights: np.ndarray) -> np.ndarray:
        """[m] whole numbers for weights [m]."""
        return tenths(self.rewards(weights))


Said = Annotated[Directions | Targets, Field(discriminator="kind")]
"""How weights become numbers."""


def tenths(values: np.ndarray) -> np.ndarray:
    """Standardised rewards as whole numbers of tenths, cut at the ends of the scale."""
    return np.clip(np.rint(10.0 * np.asarray(values)), -MOST, MOST).astype(np.int64)


class Conditioning(Config):
    """What a policy is told before a prompt.

    Args:
        objectives: in the order in which they are said.
        said: how weights become numbers.
        vocabulary: rows of the model's own input embedding; statements have the ids from there.
    """

    objectives: tuple[str, ...] = Field(min_length=1)
    said: Said
    vocabulary: int = Field(ge=1)

    @property
    def rows(self) -> int:
        """How many statements there are."""
        return len(self.objectives) * (2 * MOST + 1)

    def ids(self, units: np.ndarray) -> np.ndarray:
        """[..., m] token ids that say whole numbers [..., m].

        Raises:
            ConfigError: another number of objectives, or a number off the scale.
        """
        units = np.asarray(units, dtype=np.int64)
        if units.shape[-1] != len(self.objectives) or np.abs(units).max(initial=0) > MOST:
            raise ConfigError(
                f"expected {len(self.objectives)} whole numbers from -{MOST} to {MOST}; got {units.tolist()!s:.200}"
            )
        return self.vocabulary + (2 * MOST + 1) * np.arange(len(self.objectives)) + units + MOST

    def prefix(self, weights: np.ndarray) -> list[int]:
        """[m] token ids for weights [m], in the order of `objectives`."""
        return self.ids(self.said.units(weights)).tolist()


@final
class ExtendedEmbedding(nn.Module):
    """An input embedding with rows behind those that it had.

    Args:
        original: the model's own.
        rows: [n, d] the new ones.
    """

    def __init__(self, original: nn.Module, rows: Tensor) -> None:
        super().__init__()
        self.original = original
        self.rows = nn.Parameter(rows)

    @property
    def weight(self) -> Tensor:
        """The model's own rows."""
        return self.original.weight  # type: ignore[return-value]

    def forward(self, ids: Tensor) -> Tensor:
        """[...] ids -> [..., d]."""
        own = len(self.weight)
        states = self.original(ids.clamp(max=own - 1))
        said = nn.functional.embedding((ids - own).clamp(min=0), self.rows)
        return torch.where((ids >= own)[..., None], said.to(states.dtype), states)


def extend(model: Any, rows: Tensor) -> ExtendedEmbedding:
    """Let a model read the statements of a conditioning, in place.

    Args:
        model: a causal model, or a PEFT model around one.
        rows: [n, d] embeddings of the statements.
    """
    base = base_of(model)
    original = base.get_input_embeddings()
    extended = ExtendedEmbedding(original, rows.to(original.weight.device, torch.float32))
    base.set_input_embeddings(extended)
    return extended


def release(model: Any) -> None:
    """Put a model's own input embedding back."""
    base = base_of(model)
    extended = base.get_input_embeddings()
    assert isinstance(extended, ExtendedEmbedding)  # `extend` came before
    base.set_input_embeddings(extended.original)


@torch.no_grad()
def first_rows(model: Any, tokenizer: Any, objectives: Sequence[str], *, seed: int) -> Tensor:
    """[n, d] embeddings that statements begin with: what "name: number" says, and a smooth function of the number.

    The mean of the text's embeddings lets a pretrained model begin with what it knows of words and numbers. The smooth part,
    a few random waves of the embedding's own size, tells numbers apart where the tokenizer does not, and near ones less than
    far ones, so that a number that was never trained on does what its neighbours do.

    Args:
        model: whose input embedding the statements join.
        tokenizer: its tokenizer.
        objectives: names.
        seed: of the waves.

    Source: this suite.
    """
    weight = base_of(model).get_input_embeddings().weight.detach().float().cpu()
    d, scale = weight.shape[1], float(weight.std())
    numbers = np.arange(-MOST, MOST + 1)
    rows = []
    for name in objectives:
        texts = [f"{name}: {n}" for n in numbers]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        means = torch.stack([weight[i].mean(0) if i else weight.mean(0) for i in ids])
        draw = rng.generator("conditioning", seed, name)
        speed, phase = draw.uniform(0.5, 4.0, (WAVES, 1)), draw.uniform(0.0, 2.0 * np.pi, (WAVES, 1))
        waves = np.cos(speed * numbers / MOST + phase)  # [WAVES, 2 MOST + 1]
        smooth = waves.T @ draw.standard_normal((WAVES, d)) * np.sqrt(2.0 / WAVES)
        rows.append(means + scale * torch.from_numpy(smooth).float())
    return torch.cat(rows)


def save_conditioning(conditioning: Conditioning, rows: Tensor, folder: Path) -> None:
    """Write what a policy is told and the embeddings of it."""
    from safetensors.torch import save

    atomic.write_bytes(folder / TENSORS, save({"rows": rows.detach().cpu().float().contiguous()}))
    atomic.write_json(folder / FACTS, {"format": 1, **conditioning.model_dump(mode="json")})


def load_conditioning(folder: Path) -> tuple[Conditioning, Tensor]:
    """Read what `save_conditioning` wrote.

    Raises:
        ArtifactError: it is incomplete, or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts.pop("format", None) != 1:
            raise ValueError("it is of another format")
        found = Conditioning.model_validate_json(json.dumps(facts), strict=True)
        rows = load_file(folder / TENSORS)["rows"]
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError, ValidationError) as error:
        raise ArtifactError(f"{folder / FACTS} cannot be read: {error}; the policy is incomplete") from error
    if len(rows) != found.rows:
        raise ArtifactError(
            f"{folder / TENSORS} holds {len(rows)} rows; {found.rows} statements need one each"
        )
    return found, rows
