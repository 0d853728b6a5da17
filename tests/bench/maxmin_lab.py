"""Are hidden groups of users found, and does max-min give the worst of them what the exact game gives?

Three parts, each written to reports/align/ as soon as it is there (`python tests/bench/maxmin_lab.py [PART ...]`):

found    Groups from choices alone, on fresh problems: assignment beside the best possible one, the number of groups, and the
         worst group's utility when the game is played with the rewards that were found. No model is trained: the reference is
         the distribution of the lab's corpus, enumerated, so everything is exact. Seconds a problem.
trained  Policies of `pareto sweep configs/lab_maxmin.yaml` and `configs/lab_group_dpo.yaml` (runs/lab_maxmin, runs/lab_group_dpo)
         against the same game: who gains, who loses.
hidden   The groups of runs/lab_maxmin found without knowing the objectives' rewards, from the reference's hidden states.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import pareto
from pareto.align.group_features import projection
from pareto.data.choices import decisions, users_of
from pareto.models.hidden_features import response_features
from pareto.models.max_min import Draws, max_min
from pareto.models.user_groups import UserChoices, UserMixture, find_groups, posterior
from pareto.study.config import load_study
from pareto.tasks.lab import Lab, exact, language
from pareto.tasks.lab.groups import exact_max_min, group_figures, group_rewards
from pareto.tasks.lab.reference import PairsConfig, sample_pairs

REPORT = Path("reports/align/maxmin")
BETA = 1.0
PAIRS_A_USER = 20
PROBLEMS = [  # groups, objectives, users, assignment, seeds
    (2, 2, 1100, "soft", 3),
    (2, 2, 1100, "hard", 3),
    (2, 3, 1100, "soft", 3),
    (1, 2, 1100, "soft", 1),
    (3, 3, 1200, "soft", 1),
]


def problem(groups: int, m: int, users: int, seed: int) -> tuple[Lab, Any, np.ndarray, np.ndarray]:
    """A lab whose reference is its corpus' distribution: (lab, pairs, rewards of their responses, reference)."""
    names = ["helpful", "brief", "harmless"][:m]
    lab = Lab(seed=seed, objectives=names, groups=groups, users=users, pairs=users * PAIRS_A_USER)
    reference = lab.world.corpus_logps(np.arange(lab.prompts))
    config = PairsConfig(n=users * PAIRS_A_USER, users=users, seed=seed)
    tokenizer = language.make_tokenizer(lab.world)
    pairs, reply = sample_pairs(lab.world, reference, tokenizer, lab.objectives, config)
    return lab, pairs, lab.world.rewards()[:, pairs.table.prompt_of, reply].T, reference


def matched(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of users in the right group, groups named after the true group most of their users belong to."""
    names = [np.bincount(truth[found == g]).argmax() for g in range(found.max() + 1)]
    return float((np.array(names)[found] == truth).mean())


def find(groups: int, m: int, users: int, seed: int, assignment: str) -> dict[str, Any]:
    """One problem."""
    lab, pairs, rewards, reference = problem(groups, m, users, seed)
    made = decisions(pairs)
    codes, user = users_of(pairs, made.rows)
    choices = UserChoices(rewards[made.chosen] - rewards[made.rejected], user, len(codes))
    truth = np.zeros(len(codes), dtype=np.int64)
    truth[user] = pairs.group[made.rows]
    start = time.process_time()
    own, tried = find_groups(choices, UserMixture(assignment=assignment), seed=seed)
    seconds = time.process_time() - start
    share = np.bincount(truth, minlength=groups) / len(truth)
    care = lab.world.tastes / lab.world.tastes.sum(1, keepdims=True)
    best = posterior(choices.loglik(care), share)[0].argmax(1)
    row: dict[str, Any] = {
        "groups": groups,
        "objectives": m,
        "seed": seed,
        "assignment": assignment,
        "found": len(own),
        "accuracy": matched(own.assigned, truth),
        "bayes": float((best == truth).mean()),
        "gains_nats": [round(t.gain, 4) for t in tried[1:]],
        "gain_ses": [round(t.gain_se, 4) for t in tried[1:]],
        "cpu_s": seconds,
    }
    prompts = lab.world.split("selection")
    game = exact_max_min(lab.world, prompts, reference[prompts], BETA)
    all_rewards = lab.world.rewards()[:, prompts].reshape(m, -1).T
    draws = Draws(
        np.repeat(np.arange(len(prompts)), len(lab.world.responses)), reference[prompts].reshape(-1)
    )
    tastes = own.heads / np.abs(own.heads).sum(axis=1, keepdims=True)
    for name, heads in (("tastes", tastes), ("levels", own.heads)):
        played = max_min(all_rewards @ heads.T, draws, BETA)
        total = (all_rewards @ heads.T @ played.weights).reshape(len(prompts), -1)
        logps = exact.tilt(reference[prompts], total / BETA)
        row[name] = standing(group_figures(lab.world, prompts, logps, reference[prompts]), game.utilities)
    return row


def standing(figures: dict[str, dict[str, Any]], promised: np.ndarray) -> dict[str, Any]:
    """The worst group's utility beside that of the exact game; both above the reference's worst group."""
    utilities = np.array([f["utility"] for f in figures.values()])
    start = min(f["utility"] - f["gain"] for f in figures.values())
    return {
        "utilities": utilities.tolist(),
        "reference_worst": float(start),
        "exact_worst": float(promised.min()),
        "worst_of_exact": float((utilities.min() - start) / (promised.min() - start)),
    }


def found_part(before: Mapping[str, Any]) -> dict[str, Any]:
    """All problems; those that are there already are kept."""
    rows = list(before.get("rows", []))
    known = [(r["groups"], r["objectives"], r["assignment"], r["seed"]) for r in rows]
    for groups, m, users, assignment, seeds in PROBLEMS:
        for seed in range(seeds):
            if (groups, m, assignment, seed) not in known:
                rows.append(find(groups, m, users, seed, assignment))
                keep({"pairs_a_user": PAIRS_A_USER, "beta": BETA, "rows": rows})
    return {"pairs_a_user": PAIRS_A_USER, "beta": BETA, "rows": rows}


def keep(part: dict[str, Any]) -> None:
    """Keep what is there of the first part, so that a stopped program goes on."""
    write({"found": part})


def trained_part(runs: Path) -> dict[str, Any]:
    """Policies of finished sweeps by enumeration, on prompts trained on and on held-out ones."""
    rows = []
    for name in ("lab_maxmin", "lab_group_dpo"):
        if not (runs / name / "front.json").exists():
            continue
        run = pareto.load(runs / name)
        lab: Any = load_study(runs / name / "config.yaml").task
        for record in run:
            reference = run.folder / record.facts["needs"]["reference"]
            with np.load(reference / "enumerated.npz", allow_pickle=False) as z:
                ref_logps = z["ref_logps"]
            for split in ("selection", "heldout"):
                prompts = lab.world.split(split)
                logps, _ = lab._enumerate_policy(
                    run.folder / "policies" / record.id, prompts, {"reference": reference}
                )
                own = ref_logps[prompts]
                game = exact_max_min(lab.world, prompts, own, record.facts.get("beta") or BETA)
                kl = exact.kl(logps, own).mean()
                best = exact.tilt(
                    own, np.tensordot(game.weights, group_rewards(lab.world, prompts), 1) / BETA
                )
                figures = group_figures(lab.world, prompts, logps, own)
                rows.append(
                    {
                        "run": name,
                        "served": record.facts["served"],
                        "seed": record.seed,
                        "split": split,
                        "group_weights": record.facts.get("group_weights"),
                        "exact_weights": game.weights.tolist(),
                        "kl_nats": float(kl),
                        "exact_kl_nats": game.kl_nats,
                        "optimality": float(1.0 - exact.kl(logps, best).mean() / exact.kl(own, best).mean()),
                        "gains": {g: [f["gain_low"], f["gain"], f["gain_high"]] for g, f in figures.items()},
                        **standing(figures, game.utilities),
                    }
                )
        rows[-1]["cost"] = run.content["cost"]
    return {"rows": rows}


def hidden_part(runs: Path, users: int = 1100) -> dict[str, Any]:
    """Assignment of some users of runs/lab_maxmin from hidden states."""
    run = pareto.load(runs / "lab_maxmin")
    lab: Any = load_study(runs / "lab_maxmin" / "config.yaml").task
    reference = run.folder / run[0].facts["needs"]["reference"]
    pairs = lab.load_pairs(reference)
    model, _ = lab.load_reference(reference, "cpu", "float32")
    features = response_features(model, pairs.table, batch_size=256).astype(np.float64)
    made = decisions(pairs)
    # every (all / some)-th user, so that groups keep their shares
    kept = (pairs.user[made.rows] * users) % lab.users < users
    user = np.unique(pairs.user[made.rows][kept], return_inverse=True)[1]
    onto = projection(features, 64)
    gap = (features[made.chosen[kept]] - features[made.rejected[kept]]) @ onto
    choices = UserChoices(gap, user, int(user.max()) + 1)
    truth = np.zeros(choices.n_users, dtype=np.int64)
    truth[user] = pairs.group[made.rows][kept]
    start = time.process_time()
    own, tried = find_groups(choices, UserMixture(max_groups=3, folds=2), seed=0)
    true = lab.load_rewards(reference) @ (lab.world.tastes / lab.world.tastes.sum(1, keepdims=True)).T
    learned = features @ onto @ own.heads.T
    return {
        "users": choices.n_users,
        "found": len(own),
        "accuracy": matched(own.assigned, truth),
        "gains_nats": [t.gain for t in tried[1:]],
        "cpu_s": time.process_time() - start,
        "correlation_within_prompts": [
            _within(learned[:, g], true[:, g], pairs.table.prompt_of)
            for g in range(min(len(own), true.shape[1]))
        ],
    }


def _within(a: np.ndarray, b: np.ndarray, prompt: np.ndarray) -> float:
    n = np.maximum(np.bincount(prompt), 1)
    a, b = (x - (np.bincount(prompt, x) / n)[prompt] for x in (a, b))
    return float(np.corrcoef(a, b)[0, 1])


def page(content: dict[str, Any]) -> str:
    """Everything that is there as Markdown."""
    lines = [
        "# Max-min with hidden groups of users",
        "",
        "Written by `python tests/bench/maxmin_lab.py`.",
        "",
    ]
    if "found" in content:
        lines += _found_lines(content["found"]["rows"])
    if "trained" in content:
        lines += _trained_lines(content["trained"]["rows"])
    if "hidden" in content:
        h = content["hidden"]
        lines += [
            "## Without knowing the objectives' rewards",
            "",
            f"From the choices of {h['users']} users of `configs/lab_maxmin.yaml` and pooled states of the frozen reference (64 "
            f"components): {h['found']} groups, {h['accuracy']:.4f} of the users in the right one. The rewards that are learned "
            f"so correlate within prompts with the true ones at {', '.join(f'{c:.2f}' for c in h['correlation_within_prompts'])}: "
            "enough to tell users apart, not enough to serve them to 2 %.",
            "",
        ]
    v = content["versions"]
    return "\n".join([*lines, f"Versions: {', '.join(f'{k} {x}' for k, x in v.items())}.", ""])


def _found_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Who is found",
        "",
        "Users of the first group are ten times as many as of any other; 20 choices each, drawn by Bradley-Terry. `best possible` "
        "assigns with the true rewards and shares. `worst group` is what the worst-off group gains over the reference under the "
        "policy of the game that was found, as a share of what the exact game on the true groups gives; both enumerated, beta 1. "
        "With calibration `tastes` all groups are taken to choose equally sharply, as they do; with `levels` each group's own "
        "unit is kept, of which the few choices of a small group tell little. With as many groups as objectives the exact game is "
        "where every objective is worth the same, whatever tastes that sum to 1 are, so `tastes` hits it by construction there; two "
        "groups among three objectives are the test of what was learned.",
        "",
        "| groups | objectives | seed | assignment | found | accuracy | best possible | worst group, tastes | levels | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['groups']} | {r['objectives']} | {r['seed']} | {r['assignment']} | {r['found']} | {r['accuracy']:.4f} | "
            f"{r['bayes']:.4f} | {r['tastes']['worst_of_exact']:.4f} | {r['levels']['worst_of_exact']:.4f} | {r['cpu_s']:.1f} |"
        )
    return [*lines, ""]


def _trained_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Who gains and who loses",
        "",
        "Trained policies of `configs/lab_maxmin.yaml` and, where it was run, `configs/lab_group_dpo.yaml`, by enumeration. Gains over the reference "
        "with 95 % intervals over prompts; `worst` is the worst-off group's gain as a share of the exact game's (above 1: it went "
        "further from the reference than the game would, at a price in KL); `optimality` is the share of the regularised value "
        "of the exact game's policy, 1 at most.",
        "",
        "| policy | seed | prompts | majority's gain | minority's gain | worst | optimality | KL, nats | KL of the exact |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        gains = [f"{g[1]:.3f} [{g[0]:.3f}, {g[2]:.3f}]" for g in r["gains"].values()]
        where = "trained on" if r["split"] == "selection" else "held out"
        lines.append(
            f"| {r['served']} | {r['seed']} | {where} | {gains[0]} | {gains[1]} | {r['worst_of_exact']:.3f} | "
            f"{r['optimality']:.3f} | {r['kl_nats']:.3f} | {r['exact_kl_nats']:.3f} |"
        )
    lines.append("")
    for split, where in (("selection", "prompts trained on"), ("heldout", "held-out prompts")):
        mean = {
            served: np.mean([[g[1] for g in r["gains"].values()] for r in rows if r["served"] == served and r["split"] == split], axis=0)
            for served in ("max_min", "single_reward")
        }  # fmt: skip
        loss, gain = (
            mean["single_reward"][0] - mean["max_min"][0],
            mean["max_min"][1] - mean["single_reward"][1],
        )
        lines.append(
            f"On {where} max-min costs the majority {loss:.3f} of {mean['single_reward'][0]:.3f} and gives the minority {gain:.3f} "
            f"more than {mean['single_reward'][1]:.3f} (means over seeds)."
        )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=["found", "trained", "hidden", []], help="default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    args = parser.parse_args()
    parts = {
        "found": lambda: found_part(stored().get("found", {})),
        "trained": lambda: trained_part(args.runs),
        "hidden": lambda: hidden_part(args.runs),
    }
    for name in args.parts or parts:
        write({name: parts[name]()})
    print(REPORT.with_suffix(".md").read_text())


def stored() -> dict[str, Any]:
    """What the report holds already."""
    path = REPORT.with_suffix(".json")
    return json.loads(path.read_text()) if path.exists() else {}


def write(part: dict[str, Any]) -> None:
    """Put a part into the report and its page."""
    versions = {"python": platform.python_version(), "numpy": version("numpy"), "torch": version("torch")}
    content = {**stored(), **part, "versions": versions}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    REPORT.with_suffix(".md").write_text(page(content))


if __name__ == "__main__":
    main()
