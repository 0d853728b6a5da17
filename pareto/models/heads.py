"""Action heads: several language-model heads on one backbone, each trained on its own rows.

`attach_heads` puts a bank of K heads in the place of a model's own. A prompt says whose example it begins: its
first token is moved up by whole vocabularies (`mark_examples`). The mark is taken off before the body sees it and stands
beside every hidden state of the example, so that a head computes its own rows only, wherever the states go.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pareto import rng
from pareto.config import Config
from pareto.data.pairs import ResponseTable
from pareto.errors import ConfigError, ShapeError
from pareto.state import atomic

FACTS, TENSORS = "heads.json", "heads.safetensors"
"""Files of the heads, beside those of the backbone."""
MOST_HEADS = 256
"""Numbers of heads stand beside the states; bfloat16 counts no further."""


class FullHeads(Config):
    """A whole V x d matrix a head, each a copy of the reference's.

    Source: Li et al. (2025), arXiv 2510.01167. Differences from the released code: copies are exact (there the policy's
    carry noise and the reference's do not, so the implicit reward is not zero at the start), and head 0 is a copy too.
    """

    kind: Literal["full"] = "full"


class LowRankHeads(Config):
    """W_j = W_0 + P_j Q_j with the reference's own head W_0 frozen and P_j zero at the start.

    Source: this suite; the form is Hu et al. (2021), arXiv 2106.09685, without its scale. At rank 16 a head of a 7B model has
    2.5 M parameters instead of 545 M.
    """

    kind: Literal["low_rank"] = "low_rank"
    r: int = Field(default=16, ge=1)


Heads = Annotated[FullHeads | LowRankHeads, Field(discriminator="kind")]


class LowRankHead(nn.Module):
    """One head W_0 + P Q.

    Args:
        original: the frozen head W_0, shared by all.
        r: rank.
        seed: of Q; P is zero, so that the head computes what W_0 computes.
    """

    def __init__(self, original: nn.Linear, r: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        bound = original.in_features**-0.5
        down = torch.empty(r, original.in_features).uniform_(-bound, bound, generator=draw)
        self.original = original
        self.down = nn.Parameter(down.to(original.weight.device))  # Q
        self.up = nn.Parameter(torch.zeros(original.out_features, r, device=original.weight.device))  # P

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, d] -> [n, V]."""
        return self.original(hidden) + F.linear(F.linear(hidden, self.down), self.up)


class HeadBank(nn.Module):
    """K heads in the place of one; every state says which head is its own.

    Args:
        original: the model's own head. It is not trained: where embeddings are tied it is the input embedding as well,
            which no head may move.
        heads: K modules, [n, d] -> [n, V].
        base: the causal model around it.
    """

    def __init__(self, original: nn.Linear, heads: Sequence[nn.Module], base: Any) -> None:
        super().__init__()
        self.original = original.requires_grad_(False)
        self.heads = nn.ModuleList(heads)
        self._marks = Marks(base.get_input_embeddings().weight.shape[0])
        self._hooks = self._marks.put_on(base.base_model)

    @property
    def stride(self) -> int:
        """By how many ids a mark moves a token, once for every head."""
        return self._marks.stride

    def forward(self, states: Tensor) -> Tensor:
        """Logits of every state under its own head; heads without a state are not computed.

        Args:
            states: [..., d + 1], hidden states and the number of the head beside them.

        Returns:
            [..., V].

        Raises:
            ShapeError: a state names a head that is not there.
        """
        flat = states.flatten(0, -2)
        hidden, owner = flat[:, :-1], flat[:, -1].detach().round().long()
        counts = torch.bincount(owner, minlength=len(self.heads)).tolist()
        if len(counts) > len(self.heads):
            raise ShapeError(
                f"a row is marked for head {len(counts) - 1}; there are {len(self.heads)}, from 0"
            )
        present = [j for j, n in enumerate(counts) if n]
        if len(present) == 1:
            logits = self.heads[present[0]](hidden)
        else:
            order = owner.argsort(stable=True)
            parts = hidden.index_select(0, order).split(counts)
            logits = torch.cat([self.heads[j](parts[j]) for j in present]).index_select(0, order.argsort())
        return logits.view(*states.shape[:-1], -1)

    def release(self, model: Any) -> None:
        """Put the model's own head back, and let nothing stay of the marks."""
        for hook in self._hooks:
            hook.remove()
        base_of(model).set_output_embeddings(self.original)

    def save(self, folder: Path, objectives: Sequence[str]) -> None:
        """Write the heads; the order of the objectives is theirs.

        Args:
            folder: where the backbone is stored as well.
            objectives: K names.
        """
        from safetensors.torch import save

        tensors = {
            f"{j}.{name}": tensor.detach().cpu().float().contiguous()
            for j, head in enumerate(self.heads)
            for name, tensor in head.named_parameters()
            if tensor.requires_grad
        }
        atomic.write_bytes(folder / TENSORS, save(tensors))
        atomic.write_json(folder / FACTS, {"objectives": list(objectives)})


class Marks:
    """Takes marks off prompts and puts the number of the head beside every hidden state.

    Args:
        stride: rows of the input embedding; a prompt that begins with `id + (j + 1) * stride` belongs to head j, one
            without a mark to head 0.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self._owner: Tensor | None = None

    def put_on(self, body: nn.Module) -> list[Any]:
        """Let a model's body see plain ids and give marked states; returns the hooks."""
        return [
            body.register_forward_pre_hook(self._read, with_kwargs=True),
            body.register_forward_hook(self._write),
        ]

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """[R, T] ids as a row of prompts and responses holds them -> (plain ids, number of the head of every token)."""
        columns = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        last = (
            torch.where(ids >= self.stride, columns, 0).cummax(-1).values
        )  # the mark that began this example
        owner = ids.gather(-1, last).div(self.stride, rounding_mode="floor") - 1
        return ids % self.stride, owner.clamp(min=0)

    def _read(self, body: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            ids, self._owner = self.read(args[0])
            return (ids, *args[1:]), kwargs
        ids, self._owner = self.read(kwargs["input_ids"])
        return args, {**kwargs, "input_ids": ids}

    def _write(self, body: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        states, owner = output.last_hidden_state, self._owner
        assert owner is not None  # `_read` came before
        self._owner = None
        output.last_hidden_state = torch.cat([states, owner[..., None].to(states)], dim=-1)
        return output


def attach_heads(model: Any, config: FullHeads | LowRankHeads, n_heads: int, *, seed: int) -> HeadBank:
    """Put a bank of heads in the place of a model's own head; each computes what that one computed.

    Args:
        model: a Hugging Face causal model, or a PEFT model around one, whose backbone is ready to be trained.
        config: kind of heads.
        n_heads: K.
        seed: of low-rank factors.

    Returns:
        the bank; `release` undoes what was done to the model.

    Raises:
        ConfigError: the model's head is no plain matrix, or there are too many heads.

    Source: Li et al. (2025), arXiv 2510.01167. Differences from the released code: every row is computed by its own head and
    not by all K; every head starts from the head of the model it is given (there heads >= 1 keep the weights from before
    the supervised fine-tuning); with tied embeddings the input embedding does not move with a head.
    """
    base = base_of(model)
    original = base.get_output_embeddings()
    if not isinstance(original, nn.Linear) or not original.weight.is_floating_point():
        raise ConfigError(
            f"action heads are made from a plain linear head; this model's is a {type(original).__name__}: leave the head out "
            "of the adapter's targets, and do not quantise it"
        )
    if not 1 <= n_heads <= MOST_HEADS:
        raise ConfigError(f"there may be 1 to {MOST_HEADS} heads; got {n_heads}")
    if isinstance(config, FullHeads):
        heads: list[nn.Module] = [copy.deepcopy(original).requires_grad_(True) for _ in range(n_heads)]
    else:
        seeds = (rng.derive_seed("head", seed, j) % 2**31 for j in range(n_heads))
        heads = [LowRankHead(original, config.r, own) for own in seeds]
    bank = HeadBank(original, heads, base)
    base.set_output_embeddings(bank)
    return bank


def mark_examples(
    table: ResponseTable, examples: np.ndarray, owner: np.ndarray, stride: int
) -> tuple[ResponseTable, np.ndarray]:
    """A table in which every example begins with a prompt that names its head.

    Args:
        table: prompts and responses.
        examples: [n, K] int64, response indices of that table.
        owner: [n] int64, number of the head each example belongs to.
        stride: of the bank.

    Returns:
        a table of the prompts and responses that occur, one copy for every head that sees them, and [n, K] int64 response
        indices of it.
    """
    n_responses, n_prompts = len(table.responses), len(table.prompts)
    response, place = np.unique(owner[:, None] * n_responses + examples, return_inverse=True)
    head, response = np.divmod(response, n_responses)
    prompt, prompt_of = np.unique(head * n_prompts + table.prompt_of[response], return_inverse=True)
    head, prompt = np.divmod(prompt, n_prompts)
    prompts = table.prompts.take(prompt)
    prompts.flat[prompts.offsets[:-1]] += ((head + 1) * stride).astype(prompts.flat.dtype)
    marked = ResponseTable(prompts, table.responses.take(response), prompt_of.reshape(-1))
    return marked, place.reshape(examples.shape)


def base_of(model: Any) -> Any:
    """The causal model inside a model with adapters; any other is its own."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
