"""Bayesian optimisation over weights: the next ones promise the most hypervolume, noise allowed for."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from pareto import rng
from pareto.errors import ConfigError, MissingPackageError
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS
from pareto.study.weights.gradient_gp import GradientGP
from pareto.study.weights.search import Known, Proposal, Search, need_size, pool, untried

MAX_OBJECTIVES = 4
"""The acquisition's cells of non-dominated space grow too fast beyond; users of botorch run out of memory at five."""
SAMPLES = 32
"""Posterior samples per acquisition value; 16 sufficed on synthetic fronts."""


@WEIGHTS.register("qlognehvi", source="Ament et al. (2023), arXiv 2310.20708, qLogNEHVI, through botorch")
class QLogNEHVI(Search):
    """Fit a Gaussian process from weights to values and take the weights with the largest expected gain in hypervolume.

    Past values are uncertain too, so that a lucky measurement does not count as a gain. Candidates are a fixed lattice of
    cell centres: every candidate is looked at, and a weight vector chosen again in another run is the same cell. Several
    weights at once: a chosen one counts as pending.

    `model: gradient` (default) knows that values of best policies are the gradient of the best utility
    (`gradient_gp`); `model: independent` is one process per objective, for methods that maximise something else than
    weights . values. On closed-form fronts the first one comes within 6 % of the best weights that can be found
    (reports/weights).

    Source: Daulton et al. (2021), arXiv 2105.08195 (NEHVI) and Ament et al. (2023) (its logarithm), as botorch has it. The
    gradient process is ours.
    """

    def check(self, objectives: Objectives, config: WeightsConfig) -> None:
        """Ask for a size, for two to four objectives, and for botorch."""
        need_size(objectives, config)
        if not 2 <= len(objectives) <= MAX_OBJECTIVES:
            raise ConfigError(
                f"weights.kind qlognehvi works for 2 to {MAX_OBJECTIVES} objectives; got {len(objectives)}; take cells, "
                "energy or linear_support"
            )
        if find_spec("botorch") is None:
            raise MissingPackageError("botorch", "adaptive", "weights.kind qlognehvi")

    def propose(self, known: Known, config: WeightsConfig, k: int) -> Proposal:
        """Take k weights of the pool, one after the other, those before it pending."""
        import torch

        candidates = untried(pool(known.weights.shape[1], config), known.tried)
        k = min(k, len(candidates))
        if not k:
            return Proposal(candidates[:0])
        seed = rng.derive_seed("qlognehvi", config.seed, known.round) % 2**31
        with torch.random.fork_rng(), pure_python_acquisition(), warnings.catch_warnings():
            # jitter on a covariance and notes on sparse tensors and scripts, which nobody can act upon
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            model = MODELS[config.model](known)
            acquisition = _acquisition(known, model, torch.from_numpy(_inputs(known.weights)), seed)
            x = torch.from_numpy(_inputs(candidates))
            chosen, promised = [], []
            for _ in range(k):
                with torch.no_grad():
                    values = torch.cat([acquisition(part[:, None]) for part in x.split(128)])
                values[chosen] = -torch.inf
                chosen.append(int(values.argmax()))
                promised.append(float(values[chosen[-1]].exp()))
                acquisition.set_X_pending(x[chosen])
        return Proposal(candidates[chosen], {"expected_gain": promised})


def _acquisition(known: Known, model: Any, inputs: Any, seed: int) -> Any:
    import torch
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.sampling.normal import SobolQMCNormalSampler

    return qLogNoisyExpectedHypervolumeImprovement(
        model,
        known.ref_point.tolist(),
        inputs,
        sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
        prune_baseline=True,
        cache_root=False,
    )


def _independent(known: Known) -> Any:
    """One Gaussian process per objective, with the measured noise."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    x, y = torch.from_numpy(_inputs(known.weights)), torch.from_numpy(known.values).double()
    # an exact zero would make the covariance singular where two weights are close
    spread = np.ptp(known.values, axis=0)
    noise = np.maximum(known.variances, 1e-8 * np.where(spread > 0, spread, 1.0) ** 2)
    model = SingleTaskGP(
        x, y, train_Yvar=torch.from_numpy(noise).double(), outcome_transform=Standardize(y.shape[1])
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _gradient(known: Known) -> Any:
    """The gradient of one process, as botorch wants a model."""
    import torch
    from botorch.models.model import Model
    from botorch.posteriors import GPyTorchPosterior
    from gpytorch.distributions import MultitaskMultivariateNormal

    fitted = GradientGP.fit(known.weights, known.values, known.variances)
    m = known.weights.shape[1]

    class Gradient(Model):
        num_outputs = m
        batch_shape = torch.Size()  # type: ignore[assignment]  # a property of the base, a constant here

        def posterior(self, X: Any, *_: Any, **__: Any) -> Any:
            first = X.detach().numpy()
            weights = np.concatenate([first, 1.0 - first.sum(axis=-1, keepdims=True)], axis=-1)
            means, covariances = fitted.predict(weights)
            jitter = 1e-9 * np.tile(fitted.scale, first.shape[-2]) ** 2
            covariances = covariances + np.diag(jitter)
            normal = MultitaskMultivariateNormal(torch.from_numpy(means), torch.from_numpy(covariances))
            return GPyTorchPosterior(normal)

    return Gradient()


MODELS = {"gradient": _gradient, "independent": _independent}


def _inputs(weights: np.ndarray) -> np.ndarray:
    """[n, m - 1] float64: the last weight follows from the others."""
    return np.ascontiguousarray(weights[:, :-1], dtype=np.float64)


@contextmanager
def pure_python_acquisition() -> Iterator[None]:
    """Keep botorch from compiling its C++ kernel at first use.

    torch guards that compilation by a lock file that nobody removes when a process is killed, and every later process
    waits for it for ever. The pure Python path gives the same values. Should a version of botorch compile all the same,
    it does so in a folder of its own, where no stale lock can lie.
    """
    from botorch.acquisition.multi_objective import logei

    before = os.environ.get("TORCH_EXTENSIONS_DIR")
    with tempfile.TemporaryDirectory(prefix="pareto-extensions-") as folder:
        os.environ["TORCH_EXTENSIONS_DIR"] = folder
        logei._load_attempted = True  # type: ignore[attr-defined]  # its own mark of having tried
        try:
            yield
        finally:
            if before is None:
                del os.environ["TORCH_EXTENSIONS_DIR"]
            else:
                os.environ["TORCH_EXTENSIONS_DIR"] = before
