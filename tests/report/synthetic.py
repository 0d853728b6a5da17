"""Run folders made of synthetic numbers: everything contracts allow to be there, and everything they allow to be missing."""

from __future__ import annotations

import hashlib
import json
from math import comb
from pathlib import Path
from typing import Any

import moocore
import numpy as np

from pareto.rng import generator
from pareto.simplex import cell_centres, corners, divisions_for
from pareto.state import manifest

NAMES = ("helpful", "brief", "harmless", "honest", "warm", "tokens")
PHRASES = (
    "Gladly.",
    "Lock your account with a long passphrase.",
    "Turn on two-step login, and keep the recovery codes on paper.",
    "Be careful with links in messages you did not expect.",
    "Ask an adult you trust when something feels wrong.",
    "Hope that helps!",
)


def front_values(weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The point of a quarter sphere that the weights pick: a concave front."""
    return scale * weights / np.linalg.norm(weights, axis=-1, keepdims=True)


def write_run(
    folder: Path,
    m: int = 2,
    n: int = 9,
    *,
    exact: bool = True,
    sparse: bool = False,
    seeds: int = 1,
    units: int = 256,
    names: tuple[str, ...] = NAMES,
    drift: float = 1.0,
    study: str = "lab-modpo",
    method: str = "modpo",
    prompts: tuple[str, ...] = (
        "How do I stay safe online?",
        "What should I check before a long train journey?",
    ),
    phrases: tuple[str, ...] = PHRASES,
    edit: Any = None,
) -> Path:
    """Write a run folder; `sparse` leaves out all that `pareto import` would not know."""
    rng = generator("synthetic run", study, m, n, seeds)
    signs = np.array([-1.0 if name == "tokens" else 1.0 for name in names[:m]])
    offset = np.where(signs < 0, 60.0, 0.0)
    scale = np.where(signs < 0, 24.0, 1.4) * np.linspace(1.0, 1.3, m)
    divisions = divisions_for(m, max(n - m, 1))
    if comb(divisions + m - 1, m - 1) < n - m:
        divisions += 1
    lattice = np.unique(np.concatenate([corners(m), cell_centres(m, divisions)]), axis=0)
    lattice = lattice[np.linspace(0, len(lattice) - 1, min(n, len(lattice))).round().astype(int)]
    ids_of_units = np.array([f"prompt-{i}" for i in range(units)])
    difficulty = rng.normal(0, 1, (units, m))
    policies, per_policy = [], []
    for seed in range(seeds):
        for w in lattice:
            truth = front_values(w, scale) * rng.uniform(0.9, 1.0) * drift
            if len(policies) == 4:
                truth = truth * 0.75  # one dominated policy
            heldout = offset + signs * truth + 0.35 * scale * (difficulty + rng.normal(0, 0.5, (units, m)))
            selection = offset + signs * truth + 0.35 * scale * rng.normal(0.08 * signs, 1, (units // 2, m))
            name = hashlib.sha256(f"{seed}{w}".encode()).hexdigest()[:12]
            per_policy.append((name, heldout, selection))
            kl = float(1.8 * drift**2 * rng.uniform(0.9, 1.1))
            policies.append(_record(name, seed, w, heldout, selection, kl, names[:m], rng, sparse))
    values = np.array([[p["values"][x] for x in names[:m]] for p in policies])
    oriented = values * signs
    ref = oriented.min(axis=0) - 0.1 * np.ptp(oriented, axis=0)
    volume = float(moocore.hypervolume(oriented, ref=ref, maximise=True))
    for i, policy in enumerate(policies):
        rest = np.delete(oriented, i, axis=0)
        policy["hypervolume_contribution"] = volume - (
            float(moocore.hypervolume(rest, ref=ref, maximise=True)) if len(rest) else 0.0
        )
        policy["non_dominated"] = bool(moocore.is_nondominated(oriented, maximise=True)[i])
    front: dict[str, Any] = {
        "format": 1,
        "study": study,
        "task": None if sparse else "lab",
        "method": None if sparse else method,
        "context": None,
        "objectives": [
            {
                "name": x,
                "direction": "min" if x == "tokens" else "max",
                "unit": "tokens" if x == "tokens" else "reward",
            }
            for x in names[:m]
        ],
        "ref_point": (ref * signs).tolist(),
        "ref_point_rule": "given" if sparse else "corners-10%",
        "policies": policies,
        "indicators": {
            "hypervolume": volume,
            "hypervolume_ci95": None if sparse else [volume * 0.968, volume * 1.021],
            "hypervolume_selection": None if sparse else volume * 1.04,
            "hypervolume_with_mixtures": None if sparse else volume * 1.015,
            "expected_utility": 0.912,
            "sparsity": 0.1234,
            "cardinality": sum(p["non_dominated"] for p in policies),
            "outside_ref_point": 0,
        },
        "exact": _exact(lattice, scale, signs, offset, m, ref, volume, seeds) if exact else None,
        "quarantined": [] if sparse else [{"id": "9c1d2e3f4a5b", "why": "nan in helpful"}],
        "failed": []
        if sparse
        else [{"cell": "77aa88bb99cc", "why": "the loss became NaN at step 412; lower the learning rate"}],
        "cost": _cost(sparse, drift),
        "provenance": {
            "config_sha256": hashlib.sha256(study.encode()).hexdigest(),
            "content_sha256": hashlib.sha256(f"{study}{m}".encode()).hexdigest(),
            "versions": {"pareto-align": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
            "platform": "Linux-x86_64",
            "created": "2026-11-21T08:00:00Z",
        },
    }
    if edit is not None:
        edit(front)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "front.json").write_text(json.dumps(front))
    if not sparse:
        (folder / "config.yaml").write_text(
            f"study: {study}\ntask: {{kind: lab, seed: 0}}\nmethod: {{name: {method}, beta: 0.3}}\n"
        )
        _write_arrays(folder, per_policy, ids_of_units)
        _write_samples(folder, policies, prompts, phrases, rng)
    manifest.write(folder, unlisted=("report.html", "report.json"))
    return folder


def _record(name, seed, w, heldout, selection, kl, names, rng, sparse) -> dict[str, Any]:
    mean, half = heldout.mean(axis=0), 1.96 * heldout.std(axis=0, ddof=1) / np.sqrt(len(heldout))
    known = not sparse
    return {
        "id": name,
        "seed": seed,
        "weights": dict(zip(names, w.tolist())) if known else None,
        "weights_kind": "simplex",
        "values": dict(zip(names, mean.tolist())),
        "ci95": {x: [a - h, a + h] for x, a, h in zip(names, mean.tolist(), half.tolist())}
        if known
        else None,
        "n": len(heldout) if known else None,
        "split": "heldout" if known else None,
        "selection": {"values": dict(zip(names, selection.mean(axis=0).tolist())), "n": len(selection)}
        if known
        else None,
        "groups": None,
        "kl_nats": kl if known else None,
        "kl_to_exact_nats": float(rng.uniform(0.03, 0.2)) if known else None,
        "optimality": float(rng.uniform(0.86, 0.96)) if known else None,
        **({"optimality_heldout": float(rng.uniform(0.8, 0.92))} if known else {}),
        "text": {
            "length_tokens": float(rng.uniform(20, 44)),
            "entropy_nats": float(rng.uniform(0.8, 1.6)),
            "distinct_2": float(rng.uniform(0.5, 0.8)),
        }
        if known
        else None,
        "kind": "adapter",
        "files": {},
    }


def _exact(lattice, scale, signs, offset, m, ref, volume, seeds) -> dict[str, Any]:
    same = np.concatenate([offset + signs * front_values(lattice, scale) * 0.985] * seeds)
    rng = generator("synthetic exact", m)
    dense = (
        rng.dirichlet(np.ones(m), 600)
        if m > 2
        else np.column_stack([np.linspace(0, 1, 600), np.linspace(1, 0, 600)])
    )
    return {
        "source": "enumeration",
        "beta": 0.3,
        "front": (offset + signs * front_values(dense, scale)).tolist(),
        "same_weights": same.tolist(),
        "hypervolume": volume * 1.06,
        "optimality": 0.957,
        "optimality_heldout": 0.884,
        "hypervolume_ratio": 0.974,
        "coverage": 0.931,
        "mixture_ratio": 0.988,
    }


def _cost(sparse: bool, drift: float) -> dict[str, Any]:
    names = (
        "train_tokens",
        "generated_tokens",
        "env_steps",
        "selection_env_steps",
        "scoring_env_steps",
        "wasted_tokens",
        "wasted_steps",
    )
    figures: dict[str, Any] = dict.fromkeys(names, 0) | {
        "wall_s": 0.0,
        "peak_rss_mb": 0.0,
        "peak_gpu_mb": None,
    }
    return (
        figures
        if sparse
        else figures | {"train_tokens": round(4_812_312 * drift**4), "wall_s": 187.4, "peak_rss_mb": 912.5}
    )


def _write_arrays(folder: Path, per_policy, units: np.ndarray) -> None:
    (folder / "scores").mkdir(exist_ok=True)
    for name, heldout, selection in per_policy:
        np.savez(
            folder / "scores" / f"{name}.npz",
            values=heldout,
            unit_ids=units,
            split=np.array("heldout"),
            selection=selection,
            selection_unit_ids=np.array([f"selection-{i}" for i in range(len(selection))]),
            facts=np.array("{}"),
        )


def _write_samples(folder: Path, policies, prompts, phrases, rng: np.random.Generator) -> None:
    (folder / "samples").mkdir(exist_ok=True)
    for policy in policies:
        rows = []
        for prompt in prompts:
            picked = rng.permutation(len(phrases))[: int(rng.integers(2, len(phrases) + 1))]
            rewards = {name: float(rng.normal(1, 0.4)) for name in policy["values"]}
            rows.append(
                {
                    "prompt": prompt,
                    "response": " ".join(phrases[i] for i in sorted(picked)),
                    "rewards": rewards,
                }
            )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "samples" / f"{policy['id']}.jsonl").write_text(text)
