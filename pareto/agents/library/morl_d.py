"""Decomposition into soft actor-critics."""

from __future__ import annotations

from pareto.agents.library import LIBRARY, LibraryPolicy, Order, at_weights


@LIBRARY.register("morl_d", source="morl-baselines 1.3, MORL/D with MOSACDiscrete; Felten et al. (2024)")
def morl_d(order: Order) -> list[LibraryPolicy]:
    """MORL/D: six soft actor-critics at fixed weights.

    Its actor-critics begin to learn after 20 thousand steps each, which a short training never reaches: here they begin after
    a tenth of the training at the latest.
    """
    from morl_baselines.multi_policy.morld.morld import MORLD

    learner = MORLD(
        order.make(),
        policy_name="MOSACDiscrete",
        policy_args={"learning_starts": min(20_000, max(64, order.steps // 60))},
        gamma=order.gamma,
        log=False,
        seed=order.seed,
        exchange_every=max(1, order.steps // 2),
    )
    learner.train(
        total_timesteps=order.steps,
        eval_env=order.make(),
        ref_point=order.ref_point,
        num_eval_episodes_for_front=1,
        checkpoints=False,
    )
    return [at_weights(member.wrapped, member.weights) for member in learner.population]
