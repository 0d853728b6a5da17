"""Does the delivered reward follow the requested weight, over HTTP, on the lab?

    pareto sweep configs/lab_steering.yaml --out runs/lab-steering
    python tests/bench/serve_steering.py runs/lab-steering

Replies to held-out prompts are asked of a `pareto serve` under weights from one objective alone to the other alone, with the
same seeds at every weight. Every reply's true reward is known; so is, by enumeration, the exact expected reward of the
policy that is served. Writes reports/serve/steering.json, steering.csv, steering.md and steering.svg.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import kendalltau

from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.tasks.lab import exact, language
from tests.bench.serving import Server, serving, spread

OUT = Path(__file__).parents[2] / "reports" / "serve"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--steps", type=int, default=20, help="of the weight")
    parser.add_argument(
        "--samples", type=int, default=12, help="replies to each held-out prompt at each weight"
    )
    parser.add_argument("--methods", nargs="+", default=["soup", "mod"])
    args = parser.parse_args()
    result = {"study": args.run.rstrip("/").rpartition("/")[2], "methods": {}}
    with serving(args.run) as server:
        for method in args.methods:
            result["methods"][method] = measure(args, server, method)
    write(result, args)


def measure(args: argparse.Namespace, server: Server, method: str) -> dict:
    import torch

    run = load(args.run)
    task = load_study(Path(args.run) / "config.yaml").task
    names, world = run.objectives.names, task.world
    prompts = world.split("heldout")
    rewards = world.rewards()
    reply_of = {language.response_text(r): y for y, r in enumerate(world.responses)}
    policy = run.steer([0.5, 0.5], method=method, among="all" if method == "soup" else "corners")
    model = server.get("/v1/models")["data"][0]["id"]
    rows = []
    for w in np.linspace(0, 1, args.steps + 1):
        weights = {names[0]: float(w), names[1]: float(1 - w)}
        jobs = [(p, s) for p in prompts for s in range(args.samples)]

        def ask(job, weights=weights):
            p, s = job
            fields = {"weights": weights, "method": method}
            asked = {
                "model": model,
                "prompt": language.prompt_text(world.prompts[p]),
                "max_tokens": 16,
                "seed": s,
            }
            status, answer = server.post("/v1/completions", asked | {"pareto": fields})
            assert status == 200, answer
            assert abs(answer["pareto"]["weights_used"][names[0]] - weights[names[0]]) < 1e-9
            return answer["choices"][0]["text"]

        texts = spread(ask, jobs, 16)
        known = [(p, reply_of.get(text)) for (p, _), text in zip(jobs, texts)]
        got = np.array([rewards[:, p, y] for p, y in known if y is not None])
        c = policy.rows([w, 1 - w], 1)
        with policy.model.at(torch.from_numpy(c)), torch.no_grad():
            logps, outside = task.enumerate(policy.model, prompts, policy.tokenizer)
        rows.append(
            {
                "weight": round(float(w), 6),
                "delivered": got.mean(0).round(6).tolist(),
                "se": (got.std(0) / len(got) ** 0.5).round(6).tolist(),
                "exact": exact.values(logps, rewards[:, prompts]).mean(0).round(6).tolist(),
                "outside": round(1 - len(got) / len(texts), 6),
                "outside_exact": round(float(outside), 6),
            }
        )
    weight = np.array([r["weight"] for r in rows])
    delivered, truth = (np.array([r[key] for r in rows]) for key in ("delivered", "exact"))
    se = np.array([r["se"] for r in rows])
    signs = (1, -1)
    return {
        "objectives": list(names),
        "replies_per_weight": len(prompts) * args.samples,
        "tau_delivered": [
            round(float(kendalltau(weight * s, delivered[:, k]).statistic), 4) for k, s in enumerate(signs)
        ],
        "tau_exact": [
            round(float(kendalltau(weight * s, truth[:, k]).statistic), 4) for k, s in enumerate(signs)
        ],
        "largest_difference_in_se": round(float((abs(delivered - truth) / se).max()), 2),
        "largest_difference": round(float(abs(delivered - truth).max()), 4),
        "range": np.ptp(truth, axis=0).round(4).tolist(),
        "rows": rows,
    }


def write(result: dict, args: argparse.Namespace) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "steering.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        "# Delivered reward against requested weight, over HTTP",
        "",
        f"`python tests/bench/serve_steering.py {args.run} --steps {args.steps} --samples {args.samples}`; the run is "
        "[configs/lab_steering.yaml](../../configs/lab_steering.yaml). Held-out prompts; seeds are the same at every weight.",
        "",
        "| method | objective | Kendall's tau, delivered | tau, exact value of what is served | largest difference |",
        "|---|---|---|---|---|",
    ]
    for method, m in result["methods"].items():
        for k, name in enumerate(m["objectives"]):
            lines.append(
                f"| {method} | {name} | {m['tau_delivered'][k]} | {m['tau_exact'][k]} | {m['largest_difference']} "
                f"({m['largest_difference_in_se']} standard errors), of a range of {m['range'][k]} |"
            )
    lines += ["", "![delivered and exact reward](steering.svg)", ""]
    (OUT / "steering.md").write_text("\n".join(lines))
    with (OUT / "steering.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["method", "weight", "objective", "delivered", "se", "exact"])
        for method, m in result["methods"].items():
            for row in m["rows"]:
                for k, name in enumerate(m["objectives"]):
                    table.writerow(
                        [method, row["weight"], name, row["delivered"][k], row["se"][k], row["exact"][k]]
                    )
    draw(result)
    print("\n".join(lines))


def draw(result: dict) -> None:
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "steering"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(result["methods"]), figsize=(9, 3.6), sharey=True, squeeze=False)
    for axis, (method, m) in zip(axes[0], result["methods"].items()):
        weight = [r["weight"] for r in m["rows"]]
        for k, (name, colour) in enumerate(zip(m["objectives"], ("#0d6c79", "#b4541a"))):
            axis.plot(
                weight, [r["exact"][k] for r in m["rows"]], color=colour, lw=1.5, label=f"{name}, exact"
            )
            bars = [1.96 * r["se"][k] for r in m["rows"]]
            axis.errorbar(
                weight,
                [r["delivered"][k] for r in m["rows"]],
                bars,
                fmt="o",
                ms=3,
                color=colour,
                label=f"{name}, delivered",
            )
        axis.set_title(method)
        axis.set_xlabel(f"requested weight of {m['objectives'][0]}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("reward on held-out prompts")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(OUT / "steering.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
