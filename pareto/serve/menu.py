"""What a run can serve: wishes in, the loaded policy that meets them out."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from pareto.errors import SimplexError, UsageError
from pareto.models.text_policy import DecodablePolicy
from pareto.policy_record import PolicyRecord
from pareto.policy_set import LOADERS, STEERERS, PolicySet
from pareto.serve.lanes import AnyLane, Lane, WholeLane
from pareto.serve.settings import Settings
from pareto.serve.wishes import Wish
from pareto.steer.auto import OF_KIND, choose
from pareto.steer.members import chosen_records, why_not
from pareto.steer.nearest import nearest_record
from pareto.steer.select import parse_query, select_record


@dataclass(frozen=True, eq=False)
class Served:
    """What answers a request.

    Args:
        lane: the loaded policy.
        weights: [m] for the lane, or None where its policy has its own.
        told: weights used, named; None for a policy without any.
        record: the nearest measured policy, or the policy itself.
        distance: between the weights used and those of `record`; 0 where that very policy serves.
        extrapolated: outside the simplex, where nothing was measured.
        why: why this method, in words.
    """

    lane: AnyLane
    weights: np.ndarray | None
    told: Mapping[str, float] | None
    record: PolicyRecord
    distance: float
    extrapolated: bool
    why: str

    def describe(self) -> dict[str, Any]:
        """The object `pareto` of an answer."""
        mixed = getattr(self.lane.policy, "coefficients_of", None)
        shares: dict[str, float] = {}
        if mixed is not None and self.weights is not None:
            members = self.lane.policy.members
            shares = {name: float(c) for name, c in zip(members, mixed(self.weights)) if c != 0}
        return {
            "weights_used": None if self.told is None else dict(self.told),
            "method": self.lane.method,
            "why": self.why,
            "shares": shares or {self.record.id: 1.0},
            "extrapolated": self.extrapolated or min(shares.values(), default=0.0) < 0,
            "digest": self.lane.digest[:16],
            "nearest_measured": {
                "policy": self.record.id,
                "weights": None if self.record.weights is None else dict(self.record.weights),
                "values": dict(self.record.values),
                "distance": self.distance,
            },
        }


@final
class Menu:
    """The policies of a run, loaded when first asked for.

    One lane serves all weights of a method whose policy takes them with every call. A policy that can be had from the exact
    mixture by its own weights is served there, so that measured and mixed requests share one model; others are kept loaded
    as long as they are among the last `settings.policies` that were asked for.

    Args:
        run: the policy set.
        settings: of the server.
    """

    def __init__(self, run: PolicySet, settings: Settings) -> None:
        self.run, self.settings = run, settings
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, ...], AnyLane] = {}
        self._loaded: OrderedDict[tuple[str, ...], AnyLane] = OrderedDict()
        self._mixable: frozenset[str] | None = None

    def lanes(self) -> list[AnyLane]:
        """Everything that is loaded."""
        return [*self._lanes.values(), *self._loaded.values()]

    def default(self) -> Wish:
        """What is served where nobody says anything."""
        return Wish(self.settings.weights)

    def serve(self, wish: Wish) -> Served:
        """The lane for a wish; loads what is not loaded yet.

        Raises:
            ParetoError: weights, a query or a method that the run cannot serve; says why.
        """
        with self._lock:
            if wish.at is not None or wish.policy is not None:
                if wish.method not in (None, "auto", "select", "nearest"):
                    raise UsageError(
                        f"a query or a policy picks a measured policy; method {wish.method!r} has no part in it"
                    )
                return self._record(self._picked(wish), "a measured policy was asked for")
            weights = self.checked(wish)
            outside = bool(weights.min() < 0) and self.run.weights_kind == "simplex"
            method = wish.method or self.settings.method
            if method not in STEERERS.names() or method == "select":
                STEERERS.entry(method)
                raise UsageError("method 'select' needs a query; give pareto.at")
            if method == "auto":
                choice = choose(self.run, weights, extrapolate=outside)
                method, why = choice.method, choice.why
            else:
                why = f"method {method} was asked for"
            if method == "nearest":
                return self._record(nearest_record(self.run, weights), why, weights)
            return self._mixed(method, weights, outside, why)

    def checked(self, wish: Wish) -> np.ndarray:
        """[m] weights of a wish: normalised, or within the allowed distance outside the simplex.

        Raises:
            SimplexError: no weights, negative ones, or too far outside.
        """
        objectives = self.run.objectives
        named = wish.weights or dict.fromkeys(objectives.names, 1.0)
        vector = objectives.vector(named)
        if not np.isfinite(vector).all():
            raise SimplexError(f"weights must be finite; got {dict(named)}")
        if self.run.weights_kind == "direction":
            length = float(np.linalg.norm(vector))
            return self.run.check_weights(vector / length if length > 0 else vector)
        limit = self.settings.limits.extrapolation
        total = float(vector.sum())
        if wish.extrapolate and vector.min() < 0:
            if vector.min() < -limit or abs(total - 1.0) > 1e-6:
                raise SimplexError(
                    f"weights outside the simplex must sum to 1 and be at least {-limit}; got {vector.tolist()}"
                )
            return self.run.check_weights(vector, extrapolate=True)
        if vector.min() < 0:
            raise SimplexError(
                f'weights must be >= 0; got {vector.tolist()}; weights outside the simplex need "extrapolate": true'
            )
        if not 0 < total < 1e300:
            raise SimplexError(f"at least one weight must be positive; got {vector.tolist()}")
        return self.run.check_weights(vector / total)

    def _picked(self, wish: Wish) -> PolicyRecord:
        if wish.at is not None:
            return select_record(self.run, parse_query(wish.at, self.run.objectives))
        assert wish.policy is not None
        return self.run[wish.policy]

    def _record(self, record: PolicyRecord, why: str, weights: np.ndarray | None = None) -> Served:
        """A measured policy, from the mixture that holds it or by itself."""
        named = record.weights
        own = None if named is None else self.run.objectives.vector(named)
        distance = 0.0 if weights is None or own is None else float(np.linalg.norm(own - weights))
        if own is not None and record.id in self._members():
            lane = self._method_lane("soup", own, False)
            return Served(lane, own, named, record, distance, False, why)
        if own is not None and (kind := OF_KIND.get(record.kind)) is not None:
            known = inspect.signature(STEERERS.get(kind.method)).parameters
            several = len({r.seed for r in self.run if r.kind == record.kind}) > 1
            more = {"study_seed": record.seed} if several and "study_seed" in known else {}
            lane = self._method_lane(kind.method, own, False, **more)
            return Served(lane, own if lane.takes_weights else None, named, record, distance, False, why)
        key = ("policy", record.id)
        if key not in self._loaded:
            place = self._place(LOADERS.get(record.kind))
            self._keep(key, self._lane(self.run.policy(record, **place), False, "nearest"))
        self._loaded.move_to_end(key)
        return Served(self._loaded[key], None, named, record, distance, False, why)

    def _mixed(self, method: str, weights: np.ndarray, outside: bool, why: str) -> Served:
        lane = self._method_lane(method, weights, outside)
        record = nearest_record(self.run, weights)
        assert record.weights is not None
        distance = float(np.linalg.norm(self.run.objectives.vector(record.weights) - weights))
        given = weights if lane.takes_weights else None
        return Served(lane, given, self.run.objectives.named(weights), record, distance, outside, why)

    def _method_lane(self, method: str, weights: np.ndarray, outside: bool, **more: Any) -> AnyLane:
        """The lane of a steering method; of one whose policies have weights of their own, the lane for these."""
        key = (method, str(outside), str(sorted(more.items())))
        if key in self._lanes:
            return self._lanes[key]
        own = (*key, str(weights.tolist()))
        if own in self._loaded:
            self._loaded.move_to_end(own)
            return self._loaded[own]
        steerer = STEERERS.get(method)
        options: dict[str, Any] = self._place(steerer) | more | ({"extrapolate": True} if outside else {})
        if method == "soup" and not outside and self._members():
            options["among"] = "all"
        policy = self.run.steer(weights, method=method, **options)
        free = _takes_weights(policy, weights)
        lane = self._lane(policy, free, method)
        if free:
            self._lanes[key] = lane
        else:
            self._keep(own, lane)
        return lane

    def _lane(self, policy: Any, takes_weights: bool, method: str) -> AnyLane:
        if not isinstance(policy, DecodablePolicy):
            inner = getattr(policy, "policy", policy)
            if not hasattr(policy, "generate") or not isinstance(inner, DecodablePolicy):
                raise UsageError(
                    f"what method {method!r} gives here is a {type(policy).__name__}, which writes no text"
                )
            return WholeLane(policy, takes_weights, method)
        return Lane(policy, takes_weights, self.settings.prefix_bytes, method)

    def _keep(self, key: tuple[str, ...], lane: AnyLane) -> None:
        self._loaded[key] = lane
        while len(self._loaded) > self.settings.policies:
            self._loaded.popitem(last=False)  # requests in it keep it alive until they are done

    def _members(self) -> frozenset[str]:
        """Ids of the policies that the exact mixture of all of them holds; none where there is no such mixture."""
        if self._mixable is None:
            try:
                records = chosen_records(self.run, "all")
                reason = why_not(self.run, records)
            except (UsageError, SimplexError):
                records, reason = (), "no mixture"
            self._mixable = frozenset() if reason else frozenset(r.id for r in records)
        return self._mixable

    def _place(self, function: Any) -> dict[str, Any]:
        """Device, dtype and quantisation, as far as a function takes them.

        Raises:
            UsageError: quantisation is wanted of something that has none.
        """
        known = inspect.signature(function).parameters
        wanted = {
            "device": self.settings.device,
            "dtype": self.settings.dtype,
            "quantize": self.settings.quantize,
        }
        place = {k: v for k, v in wanted.items() if k in known and v is not None}
        if self.settings.quantize and "quantize" not in place:
            raise UsageError(f"{function.__name__} cannot run on a quantised base; serve without --quantize")
        return place


def _takes_weights(policy: Any, weights: np.ndarray) -> bool:
    """Whether a policy may be given other weights with every call."""
    if not isinstance(policy, DecodablePolicy):
        return hasattr(policy, "generate") and "weights" in inspect.signature(policy.generate).parameters
    try:
        policy.encode(["a"], weights)
    except UsageError:
        return False
    return True
