"""The language-model head where a token is scored: log-probabilities and their gradients, of few logits at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LinearHead:
    """A head that is one matrix: logits = factor * (W h + b), whose derivatives are known in closed form.

    With p = softmax(logits), d log p[y] / d logits = onehot(y) - p: one buffer of logits becomes the softmax and then the
    gradient, in place, and the gradient of W is added to where it is kept. Autograd would hold four buffers and a gradient
    of W for every chunk.

    Under autocast the products are in its dtype and all else is float32, the sum of the chunks' gradients of W included.

    Args:
        weight: [V, d] float32 or float64.
        bias: [V] or None.
        factor: of the logits.
        matrix: [V, d] the weight in the dtype of the products.
    """

    weight: Tensor
    bias: Tensor | None
    factor: float
    matrix: Tensor

    @classmethod
    def of(cls, module: Any, factor: float) -> LinearHead | None:
        """The head in closed form; None where only the module itself knows what it computes.

        Adapters, quantised and sharded weights are other classes or tensors; hooks must be called; gradients of weights in
        half precision would be added up in half precision. Under autocast this makes a copy of the weight: ask once a batch.
        """
        plain = (
            type(module) is nn.Linear
            and "forward" not in vars(module)
            and not module._forward_hooks
            and not module._forward_pre_hooks
            and type(module.weight) is nn.Parameter
            and module.weight.dtype in (torch.float32, torch.float64)
        )
        if not plain:
            return None
        kind = module.weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else module.weight.dtype
        return cls(module.weight, module.bias, factor, module.weight.detach().to(dtype))

    @property
    def frozen(self) -> bool:
        """Whether nothing of it is trained."""
        return not (self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad))

    def logps(self, hidden: Tensor, target: Tensor) -> Tensor:
        """[n] log-probabilities of [n] targets, differentiable in hidden states and head."""
        return _LinearLogps.apply(hidden, target, self)  # pyright: ignore[reportReturnType]

    @torch.no_grad()
    def logps_and_slopes(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """[n] log-probabilities of [n] targets and their gradients by the hidden states.

        factor * (W[y] - p W): what a frozen head ever has to say, in the two products that autograd needs for one loss.

        Args:
            hidden: [n, d].
            target: [n] int64.

        Returns:
            [n] and [n, d].
        """
        logps, weights, total = self._softmax(hidden, target)
        mean = (weights.to(self.matrix.dtype) @ self.matrix).to(self.weight.dtype)
        slopes = mean.div_(-total[:, None]).add_(self.weight[target])
        return logps, slopes.mul_(self.factor) if self.factor != 1.0 else slopes

    def _softmax(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """([n] log-probabilities, [n, V] softmax times its [n] totals): the only [n, V] buffer there ever is."""
        logits = (hidden.to(self.matrix.dtype) @ self.matrix.T).to(self.weight.dtype)
        if self.bias is not None:
            logits.add_(self.bias)
        if self.factor != 1.0:
            logits.mul_(self.factor)
        logits.sub_(logits.amax(-1, keepdim=True))
        logps = logits.gather(-1, target[:, None]).squeeze(-1)
        weights = logits.exp_()
        total = weights.sum(-1)
        return logps.sub_(total.log()), weights, total


class _LinearLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, target: Tensor, head: LinearHead) -> Tensor:
        logps, weights, total = head._softmax(hidden, target)
        ctx.hidden, ctx.target, ctx.head, ctx.softmax = hidden, target, head, (weights, total)
        return logps

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (slope,), head = slopes, ctx.head
        weights, total = ctx.softmax
        del ctx.softmax  # overwritten below: a second backward pass must fail, not lie
        slope = slope * head.factor
        gradient = weights.mul_((-slope / total)[:, None])
        gradient[torch.arange(len(slope), device=slope.device), ctx.target] += slope
        if head.bias is not None and head.bias.requires_grad:
            head.bias.grad = gradient.sum(0).add_(0.0 if head.bias.grad is None else head.bias.grad)
        gradient = gradient.to(head.matrix.dtype)
        if head.weight.requires_grad:
            _add_product(head.weight, gradient.T, ctx.hidden.to(head.matrix.dtype))
        return (gradient @ head.matrix).to(ctx.hidden.dtype), None, None


def _add_product(parameter: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to the parameter's gradient, without a copy where the dtypes agree."""
    if parameter.grad is None:
        parameter.grad = (left @ right).to(parameter.dtype)
    elif left.dtype == parameter.dtype:
        parameter.grad.addmm_(left, right)
    else:
        parameter.grad.add_(left @ right)
