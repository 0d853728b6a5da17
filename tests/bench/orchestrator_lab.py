"""Does an orchestrator recover how much each objective matters to a prompt, and what is that worth?

On labs whose prompts have planted weights, each target is fitted to 100,000 overall choices on training prompts and asked for the
weights of prompts it never saw. The worth of weights is exact: the optimal policies under them are enumerated. A lab's reference
is its small model after a short training, since only its features and its enumeration are used. Written to reports/align/ seed by
seed: `python tests/bench/orchestrator_lab.py [--seeds 0 1 2]`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pareto import simplex
from pareto.align.prompt_weights import (
    AdvantageTarget,
    LikelihoodTarget,
    OrchestratorFit,
    RewardTarget,
    fit_orchestrator,
    judged_pairs,
)
from pareto.core.loop import TrainConfig
from pareto.data.choices import decisions
from pareto.models.hidden_features import prompt_features
from pareto.tasks.lab import Lab, exact, language
from pareto.tasks.lab.groups import prompt_optimum
from pareto.tasks.lab.reference import PairsConfig, ReferenceConfig, fit_reference, make_model, sample_pairs

REPORT = Path("reports/align/orchestrator")
BETA = 1.0
PAIRS = 100_000
TARGETS = (LikelihoodTarget(), RewardTarget(), AdvantageTarget())
REFERENCE = ReferenceConfig(corpus=10_000, train=TrainConfig(steps=100, batch_size=128, lr=1e-2))


def measure(seed: int) -> dict[str, Any]:
    """One problem, all targets."""
    start = time.process_time()
    lab = Lab(seed=seed, users=100, importance="planted", pairs=PAIRS, reference=REFERENCE)
    world, tokenizer = lab.world, language.make_tokenizer(lab.world)
    model = make_model(lab.reference, tokenizer, seed)
    fit_reference(model, world, tokenizer, lab.reference, seed=seed)
    ref_logps, _ = lab.enumerate(model, np.arange(lab.prompts), tokenizer)
    config = PairsConfig(n=PAIRS, users=lab.users, seed=seed)
    pairs, reply = sample_pairs(world, ref_logps, tokenizer, lab.objectives, config)
    rewards = world.rewards()[:, pairs.table.prompt_of, reply].T
    features = prompt_features(model, pairs.table.prompts)
    made = decisions(pairs)
    judged = judged_pairs(pairs.table.prompt_of, made.chosen, made.rejected, rewards, features)
    unseen = world.split("heldout")
    best, fixed = (
        utility(lab, ref_logps, unseen, world.importance[unseen]),
        best_fixed(lab, ref_logps, unseen),
    )
    row: dict[str, Any] = {
        "seed": seed,
        "exact": best,
        "best_fixed": fixed,
        "even_error": error(np.full_like(world.importance, 1.0 / world.m), world.importance, unseen),
        "targets": {},
    }
    for target in TARGETS:
        found = fit_orchestrator(judged, target, OrchestratorFit(), seed=seed)
        w = found.model.weights(features)
        row["targets"][target.kind] = {
            "error_seen": error(w, world.importance, world.split("selection")),
            "error_unseen": error(w, world.importance, unseen),
            "correlation_unseen": float(np.corrcoef(w[unseen, 0], world.importance[unseen, 0])[0, 1]),
            "spread_unseen": float(w[unseen, 0].std() / world.importance[unseen, 0].std()),
            "kappa": found.kappa,
            "steps": found.steps,
            "utility": utility(lab, ref_logps, unseen, w[unseen]),
        }
    return {**row, "cpu_s": time.process_time() - start}


def error(w: np.ndarray, truth: np.ndarray, prompts: np.ndarray) -> float:
    """Mean absolute error of weights."""
    return float(np.abs(w[prompts] - truth[prompts]).mean())


def utility(lab: Lab, ref_logps: np.ndarray, prompts: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """What the optimal policy under weights of each prompt is worth by the prompts' true weights.

    Gain of the expected reward over the reference, the same less beta KL, which is what the optimum maximises, and that KL.
    """
    own = ref_logps[prompts]
    logps = prompt_optimum(lab.world, prompts, own, weights, BETA)
    rewards = np.einsum("pm,mpy->py", lab.world.importance[prompts], lab.world.rewards()[:, prompts])
    gain = float(((np.exp(logps) - np.exp(own)) * rewards).sum(1).mean())
    kl = float(exact.kl(logps, own).mean())
    return {"gain": gain, "value": gain - BETA * kl, "kl_nats": kl}


def best_fixed(lab: Lab, ref_logps: np.ndarray, prompts: np.ndarray) -> dict[str, float]:
    """The best of 101 weight vectors by value, the same for every prompt; chosen with hindsight."""
    lattice = simplex.das_dennis(lab.world.m, 100)
    found = [utility(lab, ref_logps, prompts, np.tile(w, (len(prompts), 1))) for w in lattice]
    return max(found, key=lambda f: f["value"])


def page(content: dict[str, Any]) -> str:
    """All seeds as Markdown."""
    rows = content["rows"]
    lines = [
        "# Weights read off the prompt",
        "",
        "Planted weights of the lab's prompts, two objectives, 100,000 overall choices on 72 prompts. Errors are mean absolute "
        "errors of weights on 24 prompts never seen (new combinations of seen parts). Worth is exact, for optimal policies at beta "
        "1 under the weights: `gain` of the prompts' true utility over the reference, `value` the same less KL, both as a share of "
        "what each prompt's true weights give, whose KL is the number in brackets. `best fixed` is one weight vector for all prompts, chosen with hindsight on these "
        "very prompts. Written by `python tests/bench/orchestrator_lab.py`.",
        "",
        "| seed | weights | error, seen | error, unseen | correlation | spread | kappa | gain | value | KL, nats |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        top = r["exact"]
        for kind, t in r["targets"].items():
            lines.append(
                f"| {r['seed']} | {kind} | {t['error_seen']:.3f} | {t['error_unseen']:.3f} | {t['correlation_unseen']:.2f} | "
                f"{t['spread_unseen']:.2f} | {t['kappa']:.2f} | {t['utility']['gain'] / top['gain']:.3f} | "
                f"{t['utility']['value'] / top['value']:.3f} | {t['utility']['kl_nats']:.2f} [{top['kl_nats']:.2f}] |"
            )
        fixed = r["best_fixed"]
        lines.append(
            f"| {r['seed']} | best fixed | | | | 0 | | {fixed['gain'] / top['gain']:.3f} | {fixed['value'] / top['value']:.3f} | "
            f"{fixed['kl_nats']:.2f} [{top['kl_nats']:.2f}] |"
        )
        lines.append(f"| {r['seed']} | even | | {r['even_error']:.3f} | | 0 | | | | |")
    settings = (
        f"{sum(r['cpu_s'] for r in rows):.0f} CPU seconds. Fit: {OrchestratorFit().model_dump(mode='json')}."
    )
    versions = ", ".join(f"{k} {x}" for k, x in content["versions"].items())
    return "\n".join([*lines, "", settings, f"Versions: {versions}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    args = parser.parse_args()
    path = REPORT.with_suffix(".json")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        if seed not in [r["seed"] for r in rows]:
            rows = sorted([*rows, measure(seed)], key=lambda r: r["seed"])
        versions = {"python": platform.python_version(), "numpy": version("numpy"), "torch": version("torch")}
        content = {"pairs": PAIRS, "beta": BETA, "rows": rows, "versions": versions}
        path.write_text(json.dumps(content, indent=1) + "\n")
        REPORT.with_suffix(".md").write_text(page(content))
    print(REPORT.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
