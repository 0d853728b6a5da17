"""Guided decoding against best-of-n at equal generated tokens on the lab: true step rewards, and reward models trained on them.

Writes reports/align/guided.*: `python tests/bench/lab_guided.py [--out runs/lab_guided]`. What is trained is kept there.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pareto.cells import FitContext
from pareto.core.loop import Hooks, TrainConfig
from pareto.core.reference import model_sha256
from pareto.front import mean_interval
from pareto.models.generate import Sampling
from pareto.models.guided import Guidance, JudgedReply, best_of_n, guided_replies
from pareto.models.reward_models.model import RewardForm, RewardModel, load_reward_model
from pareto.models.reward_models.reading import StepTable
from pareto.models.reward_models.steps import EveryTokens
from pareto.models.reward_models.targets import hindsight_targets
from pareto.models.reward_models.training import train_values
from pareto.models.reward_models.vector import ReplyRewards, Rule, scalarised
from pareto.models.text_policy import TransformersPolicy
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints
from pareto.tasks.lab import Lab, language
from pareto.tasks.lab.step_rewards import StepRewards

REPORT = Path("reports/align")
LAB = Lab()
GAMMAS = (0.9,)
CANDIDATES = (2, 4, 8)
WEIGHTS = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))
REPEATS = 4
RULES: tuple[Rule, ...] = ("sum", "worst")
TRAINING = TrainConfig(steps=500, batch_size=256, lr=2e-3, checkpoint_every=50)
SAMPLING = Sampling(max_new_tokens=6, batch_size=192)


def reference(out: Path) -> Path:
    """The lab's reference, trained once."""
    folder = out / "reference"
    if not folder.is_dir():
        with atomic.staged_folder(folder) as staging:
            (out / "scratch").mkdir(parents=True, exist_ok=True)
            cell = LAB.prerequisites()["reference"]
            LAB.build("reference", cell, FitContext(staging, out / "scratch"))
    return folder


def process_reward(out: Path, base: Path, gamma: float) -> RewardModel:
    """A value model of each step: what the step adds, and the rest of the reply's reward discounted to it."""
    folder = out / f"value-{gamma}"
    if not folder.is_dir():
        pairs = LAB.load_pairs(base)
        with np.load(base / "enumerated.npz") as z:
            reply = z["reply"]
        world = LAB.world
        by_slot = {p: world.rewards_by_slot(p) for p in np.unique(pairs.table.prompt_of)}
        targets = [
            hindsight_targets(own := by_slot[p][:, y].T, own.sum(0), gamma=gamma)
            for p, y in zip(pairs.table.prompt_of, reply)
        ]
        model, tokenizer = LAB.load_reference(base, "cpu", "float32")
        form = RewardForm(objectives=LAB.objectives.names, steps=EveryTokens())
        steps = StepTable.of(pairs.table, tokenizer, form.steps)
        fitted, _ = train_values(
            model.requires_grad_(True),
            tokenizer,
            form,
            steps,
            np.concatenate(targets),
            config=TRAINING,
            seed=0,
            hooks=Hooks(checkpoints=Checkpoints(out / "scratch" / folder.name)),
        )
        with atomic.staged_folder(folder) as staging:
            fitted.save(staging, base=model_sha256(base))
    return load_reward_model(folder, base)


def measure(out: Path) -> None:
    """Worth of guided and best-of-n replies to held-out prompts, by the true rewards, row by row into the report."""
    base = reference(out)
    model, tokenizer = LAB.load_reference(base, "cpu", "float32")
    policy = TransformersPolicy(model, tokenizer, LAB.objectives)
    truth = StepRewards(LAB)
    judges: dict[str, Callable[[], ReplyRewards]] = {"true step rewards": lambda: truth}
    judges |= {f"value model, gamma {g}": lambda g=g: process_reward(out, base, g) for g in GAMMAS}
    own = [language.prompt_text(LAB.world.prompts[p]) for p in LAB.world.split("heldout")]
    prompts = [p for p in own for _ in range(REPEATS)]
    rows: list[dict[str, Any]] = []
    for judge, make in judges.items():
        rewards: ReplyRewards | None = None
        for rule, n in product(RULES, CANDIDATES):
            kept = out / f"{judge}, {rule}, {n}.json".replace(" ", "_")
            if not kept.exists():
                rewards = rewards or make()
                atomic.write_json(kept, compare(policy, prompts, rewards, truth, judge, rule, n))
            rows.append(json.loads(kept.read_text()))
            write(rows)


def write(rows: list[dict[str, Any]]) -> None:
    """The report of what is measured so far."""
    facts = {
        "rows": rows,
        "task": LAB.model_dump(mode="json"),
        "weights": WEIGHTS,
        "repeats": REPEATS,
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "platform": platform.platform(),
    }
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "guided.json").write_text(json.dumps(facts, indent=1) + "\n")
    (REPORT / "guided.md").write_text(table(facts))


def compare(
    policy: TransformersPolicy,
    prompts: list[str],
    rewards: ReplyRewards,
    truth: StepRewards,
    judge: str,
    rule: Rule,
    n: int,
) -> dict[str, Any]:
    """Both ways at five weights (one for the worst case, which has none), at no fewer tokens for best-of-n."""
    start, gaps, levels, tokens = time.process_time(), [], [], [0, 0]
    guidance = Guidance(candidates=n, steps=EveryTokens(), rule=rule)
    for w in WEIGHTS if rule == "sum" else ((0.5, 0.5),):
        vector = np.array(w)
        guided = guided_replies(policy, prompts, rewards, vector, guidance, SAMPLING, seed=1)
        best = best_of_n(policy, prompts, rewards, vector, n, SAMPLING, rule=rule, seed=2)
        worth = [_worth(truth, prompts, replies, vector, rule) for replies in (guided, best)]
        gaps.append(worth[0] - worth[1])
        levels.append([float(v.mean()) for v in worth])
        for i, replies in enumerate((guided, best)):
            tokens[i] += sum(r.generated_tokens for r in replies)
    # a prompt is a unit: what its repeats and weights have in common is not counted twice
    units = np.mean(gaps, axis=0).reshape(-1, REPEATS).mean(1)
    low, high = mean_interval(units[:, None])
    return {
        "judge": judge,
        "rule": rule,
        "n": n,
        "guided": float(np.mean([own[0] for own in levels])),
        "best_of_n": float(np.mean([own[1] for own in levels])),
        "by_weights": levels,
        "gap": float(units.mean()),
        "gap_ci95": [float(low[0]), float(high[0])],
        "tokens": tokens,
        "cpu_s": time.process_time() - start,
    }


def _worth(
    truth: StepRewards, prompts: list[str], replies: list[JudgedReply], w: np.ndarray, rule: Rule
) -> np.ndarray:
    return scalarised(truth.of_replies(prompts, [r.text for r in replies]), w, rule)


def table(facts: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "# Guided decoding and best-of-n at equal generated tokens",
        "",
        f"Lab, seed {facts['task']['seed']}, the untrained reference, {facts['task']['heldout']} held-out prompts, "
        f"{facts['repeats']} replies each; a step is a phrase. Worth is w.r by the true rewards, mean of "
        f"{len(facts['weights'])} weights, or the smaller reward for the rule `worst`. The gap's interval is over prompts. "
        "Value models are trained on step rewards of replies to other prompts: r_t + gamma^(n-t) z, z the reply's reward. "
        "Written by `python tests/bench/lab_guided.py`.",
        "",
        "| judged by | rule | n | guided | best of n | gap | 95 % | tokens, guided : best of n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in facts["rows"]:
        low, high = r["gap_ci95"]
        lines.append(
            f"| {r['judge']} | {r['rule']} | {r['n']} | {r['guided']:.2f} | {r['best_of_n']:.2f} | {r['gap']:+.2f} "
            f"| {low:+.2f} to {high:+.2f} | {r['tokens'][0]:,} : {r['tokens'][1]:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/lab_guided"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    measure(out)


if __name__ == "__main__":
    main()
