"""Where a request says what it wants of the front: its body, the model's name, a header, its token, the server.

The first of these that says anything decides, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pareto.policy_record import POLICY_ID
from pareto.serve.refusal import Refusal
from pareto.serve.schema import ParetoFields

HEADER = "x-pareto-weights"


@dataclass(frozen=True)
class Wish:
    """What is wanted, before it is held against the run: exactly one of weights, at and policy, or none of them.

    Args:
        weights: objective -> number.
        at: a query on measured values.
        policy: id of a measured policy.
        method: steering method, or None for the server's.
        extrapolate: weights may lie outside the simplex.
        source: where it was said, for messages.
    """

    weights: Mapping[str, float] | None = None
    at: str | None = None
    policy: str | None = None
    method: str | None = None
    extrapolate: bool = False
    source: str = "server default"


def wish_of(
    name: str,
    model: str,
    fields: ParetoFields | None,
    header: str | None,
    token_weights: Mapping[str, float] | None,
    server_weights: Mapping[str, float] | None,
) -> Wish:
    """What one request wants.

    Args:
        name: the server's name for the run.
        model: what the request calls the model.
        fields: `pareto` of its body.
        header: its header X-Pareto-Weights.
        token_weights: default weights of its token.
        server_weights: default weights of the server.

    Raises:
        Refusal: another model's name, or something that cannot be read.
    """
    called, at, rest = model.partition("@")
    if called != name:
        raise Refusal(
            404,
            f"there is no model {called!r} here; this server has {name!r}",
            param="model",
            code="model_not_found",
        )
    method, outside = (fields.method, fields.extrapolate) if fields else (None, False)
    if fields is not None and (fields.weights or fields.at or fields.policy):
        given = [key for key in ("weights", "at", "policy") if getattr(fields, key) is not None]
        if len(given) > 1:
            raise Refusal(
                400, f"give one of weights, at and policy; got {' and '.join(given)}", param="pareto"
            )
        return Wish(fields.weights, fields.at, fields.policy, method, outside, "pareto")
    if at:
        return _written(rest, method, outside, "model")
    if header is not None:
        return _written(header, method, outside, HEADER)
    if token_weights is not None:
        return Wish(token_weights, method=method, extrapolate=outside, source="token")
    return Wish(server_weights, method=method, extrapolate=outside)


def _written(text: str, method: str | None, outside: bool, source: str) -> Wish:
    """`a=0.7,b=0.3`, `a >= 1, max b`, or a policy's id."""
    text = text.strip()
    if ">=" in text or "<=" in text or text.startswith(("max ", "min ")):
        return Wish(at=text[:400], method=method, extrapolate=outside, source=source)
    if "=" not in text and POLICY_ID.fullmatch(text):
        return Wish(policy=text, method=method, extrapolate=outside, source=source)
    named: dict[str, float] = {}
    for part in text.split(",", 64):
        key, equals, number = part.partition("=")
        try:
            value = float(number) if equals else float("nan")
        except ValueError:
            value = float("nan")
        if not abs(value) < 1e300 or key.strip() in named:
            raise Refusal(
                400,
                f"expected weights such as a=0.7,b=0.3, a query such as 'a >= 1, max b', or a policy's id; got {text!r:.200}",
                param=source,
            )
        named[key.strip()] = value
    return Wish(named, method=method, extrapolate=outside, source=source)
