"""A stored agent as a torch module, and as ONNX: what other programs load."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pareto.errors import MissingPackageError, UsageError
from pareto.models.actors import Actor
from pareto.models.actors.composed import ComposedMLP
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.models.actors.mlp import MLPActor
from pareto.models.actors.torch_module import TorchActor
from pareto.models.spaces import Actions, Observations, space_to_json
from pareto.state import atomic


class AgentModule(nn.Module):
    """The deterministic policy of a network: encoded observations in, its outputs and the environment's actions out.

    Args:
        actor: a perceptron, several composed, or a network of one's own; one that sees weights is taken at its own.
        actions: the environment's.

    Raises:
        UsageError: another kind of actor.
    """

    offset: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, actor: Actor, actions: Actions) -> None:
        super().__init__()
        plain = actor.at(actor.weights) if isinstance(actor, ConditionedMLP) else actor
        if isinstance(plain, MLPActor):
            self.net, self.seen = _perceptron(plain), plain.offset.shape
            offset, scale = plain.offset, plain.scale
        elif isinstance(plain, ComposedMLP):
            networks = [*plain.policies, plain.values]
            offset, scale = np.stack([n.offset for n in networks]), np.stack([n.scale for n in networks])
            self.net, self.seen = _Composed(plain), offset.shape
        elif isinstance(plain, TorchActor):
            self.net, self.seen = plain.module, plain.shape
            offset, scale = plain.offset, plain.scale
        else:
            raise UsageError(f"a network can be exported; this agent is a {type(actor).__name__}")
        self.register_buffer("offset", torch.from_numpy(np.array(offset, dtype=np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.array(scale, dtype=np.float32)))
        self.discrete = actions.discrete
        space = actions.space
        if isinstance(space, spaces.Box):
            self.shape = space.shape
            self.register_buffer("low", torch.from_numpy(space.low.reshape(-1).astype(np.float32)))
            self.register_buffer("high", torch.from_numpy(space.high.reshape(-1).astype(np.float32)))
        elif isinstance(space, spaces.Discrete):
            self.start = int(space.start)
        else:
            raise UsageError(f"agents of Discrete and Box actions can be exported; this one acts in {space}")

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """(logits [n, A] or means [n, a], actions as the environment takes them) for encoded observations [n, ...]."""
        # the axis in between is for networks side by side, each with an offset and a scale of its own
        x = ((observations.flatten(1)[:, None] - self.offset) * self.scale).clamp(-10.0, 10.0)
        outputs = self.net(x.reshape(-1, *self.seen))
        if self.discrete:
            return outputs, outputs.argmax(dim=-1) + self.start
        bounded = torch.isfinite(self.low) & torch.isfinite(self.high)
        low, high = torch.where(bounded, self.low, 0.0), torch.where(bounded, self.high, 0.0)
        scaled = low + (outputs.clamp(-1.0, 1.0) + 1.0) / 2.0 * (high - low)
        taken = torch.where(bounded, scaled, outputs)
        taken = torch.maximum(torch.minimum(taken, self.high), self.low)
        return outputs, taken.reshape(-1, *self.shape)


def export_agent(
    actor: Actor,
    observations: Observations,
    actions: Actions,
    out: Path,
    *,
    onnx: bool,
    facts: Mapping[str, Any],
) -> list[str]:
    """Write a policy for other programs: its state dict, its spaces and, where wanted, ONNX.

    `policy.safetensors` is the state dict of `AgentModule`: net.* (of a perceptron net.0.weight [out, in], net.0.bias,
    net.2.weight, ..., tanh in between; of composed ones net.policies.K.*, net.values.K.* and net.weights [m]), offset and
    scale (of composed ones [2K, d]: the policies', then the values'); `policy.onnx` takes "observations" [n, ...] float32
    and gives "outputs" and "actions"; `policy.json` says how observations are encoded and which spaces the environment has.

    Args:
        actor: a network.
        observations: how the environment's are encoded.
        actions: how actions are decoded.
        out: a new folder, which appears whole; what stood there is replaced.
        onnx: write policy.onnx too.
        facts: further facts for policy.json.

    Returns:
        the names of the files.

    Raises:
        MissingPackageError: ONNX is wanted and its package is missing.
        UsageError: an actor that is no network.
    """
    from safetensors.torch import save

    module = AgentModule(actor, actions).eval()
    written = {"policy.safetensors": save({k: v.contiguous() for k, v in module.state_dict().items()})}
    if onnx:
        written["policy.onnx"] = _onnx(module, observations.shape)
    told = {"observation": space_to_json(observations.space), "action": space_to_json(actions.space)}
    with atomic.staged_folder(out) as folder:
        for name, content in written.items():
            atomic.write_bytes(folder / name, content)
        atomic.write_text(folder / "policy.json", json.dumps({**facts, "spaces": told}, indent=1))
    return [*written, "policy.json"]


def _onnx(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    import importlib.util
    import io

    if not importlib.util.find_spec("onnx"):
        raise MissingPackageError("onnx", "onnx", "exporting to ONNX")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the exporter that needs no further packages; torch calls it legacy
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            (torch.zeros(1, *shape),),
            buffer,  # type: ignore[arg-type]  # it takes open files
            dynamo=False,
            input_names=["observations"],
            output_names=["outputs", "actions"],
            dynamic_axes={name: {0: "n"} for name in ("observations", "outputs", "actions")},
        )
    return buffer.getvalue()


def _perceptron(actor: MLPActor) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in actor.layers:
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.array(weight.T, dtype=np.float32)))
            layer.bias.copy_(torch.from_numpy(np.array(bias, dtype=np.float32)))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class _Composed(nn.Module):
    """The outputs [n, A] of the policy that is worth most, of every network's own inputs [n, K + 1, d], those of the values last."""

    weights: Tensor

    def __init__(self, actor: ComposedMLP) -> None:
        super().__init__()
        self.policies = nn.ModuleList(_perceptron(policy) for policy in actor.policies)
        self.values = _perceptron(actor.values)
        self.register_buffer("weights", torch.from_numpy(actor.weights.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        *own, judged = x.unbind(1)
        outputs = torch.stack([net(y) for net, y in zip(self.policies, own, strict=True)], dim=1)
        worth = self.values(judged).view(-1, len(self.policies), self.weights.numel()) @ self.weights
        followed = worth.argmax(dim=1)
        return outputs.gather(1, followed[:, None, None].expand(-1, 1, outputs.shape[-1])).squeeze(1)
