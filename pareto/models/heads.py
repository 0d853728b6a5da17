"""Action heads: several language-model heads on one backbone, trained each on its own rows, mixed by weights afterwards.

Training: `attach_heads` puts a bank of K heads in the place of a model's own. A prompt says whose example it begins: its
first token is moved up by whole vocabularies (`mark_examples`). The mark is taken off before the body sees it and stands
beside every hidden state of the example, so that a head computes its own rows only, wherever the states go.

Serving: logits are linear in the head, sum_j w_j (W_j h) = (sum_j w_j W_j) h, so a weight vector costs one merge and then one
head. Mixed logits are mixed log-probabilities after normalisation: pi_w is the weighted geometric mean of the K policies.
"""

from __future__ import annotations

import copy
import json
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
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.adapters import load_backbone
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


# ---------------------------------------------------------------------------------------------- training


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
        _base(model).set_output_embeddings(self.original)

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
    base = _base(model)
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
    prompts = _take(table.prompts, prompt)
    prompts.flat[prompts.offsets[:-1]] += ((head + 1) * stride).astype(prompts.flat.dtype)
    marked = ResponseTable(prompts, _take(table.responses, response), prompt_of.reshape(-1))
    return marked, place.reshape(examples.shape)


# ---------------------------------------------------------------------------------------------- serving


class FullMixture(nn.Module):
    """The merged head sum_j w_j W_j, in float32.

    Args:
        weight: [V, d].
        bias: [V] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, hidden: Tensor, original: nn.Linear) -> Tensor:
        """[..., d] -> [..., V]; the reference's head has no part in it."""
        return F.linear(hidden.float(), self.get_buffer("weight"), self.bias)  # type: ignore[arg-type]


class LowRankMixture(nn.Module):
    """W_0 + sum_j w_j P_j Q_j as factors of rank K r, in float32; one weight vector for all rows or one a row.

    Args:
        down: [K r, d], the Q_j one below the other.
        up: [V, K r], the P_j one beside the other.
        scale: [K r] or [B, K r], the weight of every factor.
    """

    def __init__(self, down: Tensor, up: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("up", up * scale if scale.ndim == 1 else up, persistent=False)
        self.register_buffer("scale", None if scale.ndim == 1 else scale, persistent=False)

    def forward(self, hidden: Tensor, original: nn.Linear) -> Tensor:
        """[B, ..., d] -> [B, ..., V], with W_0 the reference's head."""
        inner = F.linear(hidden.float(), self.get_buffer("down"))
        if self.scale is not None:
            scale = self.get_buffer("scale")
            inner = inner * scale.view(len(scale), *[1] * (inner.ndim - 2), -1)
        return original(hidden).float() + F.linear(inner, self.get_buffer("up"))


class MixedHead(nn.Module):
    """The head of a policy at given weights: merged once, then as cheap as one head.

    Where the backbone is an adapter, switching the adapter off switches the mixture off: what is left is the reference.

    Args:
        original: the reference's head.
        mixture: what the heads make of it.
        model: the policy; its first adapter layer is asked whether adapters are on.
    """

    def __init__(self, original: nn.Linear, mixture: FullMixture | LowRankMixture, model: Any) -> None:
        super().__init__()
        self.original, self.mixture = original, mixture
        self._adapter = _first_adapter(model)  # a tuple: not a part of the head

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., d] -> [..., V] float32."""
        if any(layer.disable_adapters for layer in self._adapter):
            return self.original(hidden).float()
        return self.mixture(hidden, self.original)


def load_mixed(reference: Any, folder: Path) -> Any:
    """Load a policy with action heads at the weights its `policy.json` states.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.
    """
    named = _read_json(folder / "policy.json").get("weights")
    names = stored_objectives(folder)
    if not isinstance(named, dict) or set(named) != set(names):
        raise ArtifactError(
            f"{folder / 'policy.json'} must give a weight for each of {', '.join(names)}; got {named!r:.120}"
        )
    return mix_heads(load_backbone(reference, folder).eval(), folder, [named[n] for n in names])


@torch.no_grad()
def mix_heads(model: Any, folder: Path, weights: Sequence[float] | np.ndarray) -> Any:
    """Give a model the mixture of stored heads at some weights, in place; an earlier mixture goes.

    Args:
        model: a backbone that belongs to the heads.
        folder: where the heads lie.
        weights: [K], summing to 1, in the order of the stored objectives; or, for low-rank heads, [B, K]: one vector for
            each row of a forward pass.

    Returns:
        the model.

    Raises:
        ArtifactError: the stored heads do not fit the model.
        ShapeError: weights of another shape.
    """
    base = _base(model)
    head = base.get_output_embeddings()
    original = head.original if isinstance(head, MixedHead) else head
    w = torch.as_tensor(np.asarray(weights, dtype=np.float32))
    k = len(stored_objectives(folder))
    if w.ndim not in (1, 2) or w.shape[-1] != k:
        raise ShapeError(f"weights must be [{k}] or [B, {k}]; got {list(w.shape)}")
    mixture = _read_mixture(folder, w, original.weight.shape)
    base.set_output_embeddings(MixedHead(original, mixture.to(original.weight.device), model))
    return model


def stored_objectives(folder: Path) -> tuple[str, ...]:
    """The objectives of stored heads, in the order of the heads.

    Raises:
        ArtifactError: no heads there.
    """
    names = _read_json(folder / FACTS).get("objectives")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ArtifactError(f"{folder / FACTS} must list the objectives of the heads; got {names!r:.120}")
    return tuple(names)


def _read_mixture(folder: Path, w: Tensor, shape: Sequence[int]) -> FullMixture | LowRankMixture:
    """Merge stored heads, one in memory at a time where they are whole matrices."""
    from safetensors import SafetensorError, safe_open

    k = w.shape[-1]
    try:
        with safe_open(folder / TENSORS, "pt") as file:
            names = set(file.keys())
            if "0.weight" in names:
                if w.ndim == 2:
                    raise ShapeError(
                        "full heads serve one weight vector at a time; weights a row need low-rank heads"
                    )
                _check_shape(folder, file.get_slice("0.weight").get_shape(), shape)
                weight = _sum(file, "weight", w)
                return FullMixture(weight, _sum(file, "bias", w) if "0.bias" in names else None)
            down = [file.get_tensor(f"{j}.down") for j in range(k)]
            up = [file.get_tensor(f"{j}.up") for j in range(k)]
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder / TENSORS} cannot be read: {error}; the policy is incomplete"
        ) from error
    _check_shape(folder, [len(up[0]), down[0].shape[1]], shape)
    return LowRankMixture(torch.cat(down), torch.cat(up, dim=1), w.repeat_interleave(len(down[0]), dim=-1))


def _sum(file: Any, name: str, w: Tensor) -> Tensor:
    total = None
    for j in range(len(w)):
        part = file.get_tensor(f"{j}.{name}").mul_(w[j])
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _check_shape(folder: Path, got: Sequence[int], wanted: Sequence[int]) -> None:
    if list(got) != list(wanted):
        raise ArtifactError(
            f"{folder / TENSORS} holds heads of {list(got)}; the reference's head has {list(wanted)}: another base model"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}; the policy is incomplete") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} must hold a mapping; got {type(content).__name__}")
    return content


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _first_adapter(model: Any) -> tuple[Any, ...]:
    """One layer that knows whether a model's adapters are on; none for a model without adapters."""
    if not hasattr(model, "peft_config"):
        return ()
    from peft.tuners.tuners_utils import BaseTunerLayer

    return tuple(m for m in model.modules() if isinstance(m, BaseTunerLayer))[:1]


def _take(ragged: Ragged, rows: np.ndarray) -> Ragged:
    """Some sequences, copied."""
    lengths = ragged.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(ragged.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Ragged(ragged.flat[at], offsets)
