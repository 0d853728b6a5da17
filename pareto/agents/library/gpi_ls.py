"""Generalised policy improvement with linear support."""

from __future__ import annotations

from pareto.agents.library import LIBRARY, LibraryPolicy, Order, at_weights


@LIBRARY.register("gpi_ls", source="morl-baselines 1.3, GPI-LS; Alegre et al. (2023)")
def gpi_ls(order: Order) -> list[LibraryPolicy]:
    """GPI-LS with the library's defaults; `per=True`, since it crashes without prioritised replay."""
    from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPIPD

    learner = GPIPD(order.make(), gamma=order.gamma, per=True, dyna=False, log=False, seed=order.seed)
    learner.train(
        total_timesteps=order.steps,
        eval_env=order.make(),
        ref_point=order.ref_point,
        timesteps_per_iter=max(1, order.steps // 2),
        num_eval_weights_for_front=4,
        num_eval_episodes_for_front=1,
        eval_freq=order.steps * 2,
        eval_mo_freq=order.steps * 2,
        checkpoints=False,
    )
    return [at_weights(learner, w) for w in order.weights]
