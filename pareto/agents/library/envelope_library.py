"""Envelope Q-learning as the library has it."""

from __future__ import annotations

from pareto.agents.library import LIBRARY, LibraryPolicy, Order, at_weights


@LIBRARY.register("envelope_library", source="morl-baselines 1.3, Envelope; Yang et al. (2019)")
def envelope_library(order: Order) -> list[LibraryPolicy]:
    """Envelope Q-learning with the library's defaults."""
    from morl_baselines.multi_policy.envelope.envelope import Envelope

    learner = Envelope(order.make(), gamma=order.gamma, log=False, seed=order.seed)
    learner.train(total_timesteps=order.steps)
    return [at_weights(learner, w) for w in order.weights]
