"""MODPO, action heads, a one-run front and soups on real preferences at equal training tokens, beside length and words alone.

Every row is an ordinary sweep of a config under configs/ with another method and other weights; all of them share the split, the
model's size and its supervised training. What is finished is kept, and the table is written of what is there:

    python tests/bench/real_data.py --out runs/real_data                      # hours
    python tests/bench/real_data.py --data qa_feedback_modpo --only modpo     # a part of it
    python tests/bench/real_data.py --report                                  # only write reports/align/real_data.md
"""

from __future__ import annotations

import argparse
import itertools
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pareto
from pareto.errors import ParetoError
from pareto.state import atomic

REPORT = Path("reports/align")


@dataclass(frozen=True)
class Data:
    """A study of real preferences.

    Args:
        passes: over the pairs of one objective that every method may make in all.
        policies: weight vectors of methods that train one policy each.
        divisions: of the lattice of weights of methods that serve any.
        batch_size: pairs a step.
        lr: learning rate.
    """

    passes: float
    policies: int
    divisions: int
    batch_size: int
    lr: float

    def weights(self, method: str) -> str:
        """The config's `weights`."""
        if method == "modpo":
            return f"{{kind: cells, n: {self.policies}}}"
        return f"{{kind: das_dennis, divisions: {self.divisions}}}"

    def epochs(self, method: str, m: int) -> float:
        """Passes over its pairs of each training: a policy, a corner, a head, or the one run."""
        return self.passes / {"modpo": self.policies, "soup": m, "mah_dpo": m, "modpo_conditioned": 1}[method]


DATA = {
    "alpaca_win_vs_brevity": Data(passes=1, policies=3, divisions=4, batch_size=32, lr=5e-4),
    "qa_feedback_modpo": Data(passes=4, policies=4, divisions=2, batch_size=16, lr=3e-4),
}
METHODS = ("modpo", "mah_dpo", "modpo_conditioned", "soup")


def settings(data: str, method: str, prompts: int) -> list[str]:
    """What is set over the data's config."""
    study, m = DATA[data], {"alpaca_win_vs_brevity": 2, "qa_feedback_modpo": 3}[data]
    training = f"{{epochs: {study.epochs(method, m)}, batch_size: {study.batch_size}, lr: {study.lr}}}"
    return [
        f"study=real-{data}",
        f"method={{name: {method}, beta: 0.1, adapter: {{kind: full}}, training: {training}}}",
        f"weights={study.weights(method)}",
        f"task.generation.prompts={prompts}",
    ]


def lines(rows: Mapping[tuple[str, str], Any]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Trainers on real preferences"
    yield ""
    yield (
        "Share of a held-out prompt's pairs that the implicit reward log(pi / pi_ref) puts in the right order, mean over prompts, "
        "with 95 % intervals over prompts; of each method the policy that is best for that objective on the selection split. Small models "
        "from nothing, one seed. Tokens are those of all trainings, the supervised one included."
    )
    for data in DATA:
        runs = {method: run for (d, method), run in rows.items() if d == data}
        if not runs:
            continue
        names = next(iter(runs.values())).objectives.names
        yield ""
        yield f"## {data}"
        yield ""
        yield f"| method | policies | {' | '.join(f'best {n}' for n in names)} | hypervolume | mean KL, nats | training tokens, M |"
        yield "|---|---|" + "---|" * (len(names) + 3)
        for method, run in runs.items():
            content = run.content
            best = {n: _chosen(run, n) for n in names}
            found = [_share(best[n]["values"][n], best[n]["ci95"][n]) for n in names]
            low, high = content["indicators"]["hypervolume_ci95"] or (float("nan"),) * 2
            policies = _policies(run)
            kl = sum(p["kl_nats"] for p in policies) / len(policies)
            yield (
                f"| {method} | {len(policies)} | {' | '.join(found)} "
                f"| {content['indicators']['hypervolume']:.4f} [{low:.4f}, {high:.4f}] | {kl:.1f} "
                f"| {content['cost']['train_tokens'] / 1e6:.2f} |"
            )
        alone = next(iter(runs.values())).content["policies"][0]["baselines"]
        for key, title in (("length", "*length alone*"), ("words", "*bag of words*")):
            shares = [_share(alone[n][key]["accuracy"], alone[n][key]["ci95"]) for n in names]
            yield f"| {title} | | {' | '.join(shares)} | | | |"
        yield ""
        yield from _verdicts(runs, names, alone)
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers", "numpy"))
    yield ""
    yield f"Written by `python tests/bench/real_data.py`; python {platform.python_version()}, {packages}."


def _verdicts(runs: Mapping[str, Any], names: Any, alone: Mapping[str, Any]) -> Iterator[str]:
    """Whether a method beats what needs no model, by the interval."""
    for n in names:
        bar = max(alone[n][key]["accuracy"] for key in ("length", "words"))
        above = [method for method, run in runs.items() if _chosen(run, n)["ci95"][n][0] > bar]
        yield f"- {n}: the better predictor without a model stands at {100 * bar:.1f} %; above it by the interval: {', '.join(above) or 'none'}."


def _chosen(run: Any, objective: str) -> Mapping[str, Any]:
    """The policy that is best for one objective on the split that choices rest on."""
    return max(_policies(run), key=lambda p: p["selection"]["values"][objective])


def _policies(run: Any) -> list[Mapping[str, Any]]:
    """What is stored of one method's policies; a folder holds those of all methods."""
    own = {r.id for r in run.records}
    return [p for p in run.content["policies"] if p["id"] in own]


def _share(value: float, interval: Any) -> str:
    span = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.1f} %{span}"


def main() -> None:
    """Run what is missing and write the page of what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real_data"))
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=list(DATA))
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--prompts", type=int, default=32, help="prompts that policies reply to, for KL and texts"
    )
    parser.add_argument("--workers", type=int, help="processes; as many as the configs say where left out")
    parser.add_argument("--report", action="store_true", help="only write the page")
    args = parser.parse_args()
    rows = {}
    for data, method in itertools.product(args.data, args.only):
        folder = args.out / data  # one for all methods: what they begin with is trained once
        if not args.report:
            pareto.sweep(
                Path("configs") / f"{data}.yaml",
                out=folder,
                set=settings(data, method, args.prompts),
                workers=args.workers,
            )
        try:
            rows[data, method] = pareto.load(folder).of_method(method)
        except ParetoError as error:
            print(f"{data}, {method}: not done ({error})")
    if rows:
        REPORT.mkdir(parents=True, exist_ok=True)
        atomic.write_text(REPORT / "real_data.md", "\n".join(lines(rows)) + "\n")
        print("\n".join(lines(rows)))


if __name__ == "__main__":
    main()
