"""A whole front from one run against separate runs, on the lab, by exact divergence from the optimum at every weight vector.

Trains MODPO policies one by one and weight-conditioned policies at several costs, with implicit margins (labels only; the
corner policies that are margins count as cost) and with explicit ones (rewards known), and writes table and curve to
reports/align/. What is finished is kept, policy by policy: `python tests/bench/one_run_front.py [--out runs/one_run_front]
[--seeds 3] [--every 3]`; with `--every 3` both ways are compared at every third weight vector, and a later run for all of them
trains only what is missing.

Both are measured at the same weight vectors off the corners: a separate policy is trained at each of them, the conditioned one
sees none of them in training, where sampled weights are continuous. Cost is CPU time of one thread in the training loop, and
tokens.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import FixedLocator, NullLocator

from pareto import front
from pareto.align import MODPO, MODPOConditioned
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.models.adapters import FullFineTuning, load_policy
from pareto.models.heads import base_of
from pareto.report import canvas
from pareto.state import atomic
from pareto.tasks.lab import Lab, exact, language

REPORT = Path("reports/align")
OBJECTIVES = ("helpful", "brief", "harmless")
BETA, STEPS = 1.0, 300
ANCHOR, BATCH, LR = 0.05, 128, 4e-3
"""Of both ways. Tried on corners, 300 steps: the anchor at .15, .05 and .02, rates of 2e-3, 4e-3 and 6e-3 (reports/log.md)."""
COMMON = {"beta": BETA, "mass_anchor": ANCHOR, "adapter": FullFineTuning()}
WEIGHTS = {
    2: [(i / 22, 1 - i / 22) for i in range(1, 22)],
    3: [tuple((np.array(c) + 1) / 9) for c in itertools.product(range(7), repeat=3) if sum(c) == 6],
}
"""Objectives -> weight vectors off the corners: 21, 28."""


class Bench:
    """One problem: its reference, what is trained on it, what was measured.

    Args:
        m: objectives.
        out: where everything is kept.
        every: 1: all weight vectors; n: every nth of them.
    """

    def __init__(self, m: int, out: Path, every: int = 1) -> None:
        self.m, self.out = m, out / f"m{m}"
        self.weights = WEIGHTS[m][every // 2 :: every]
        self.lab = Lab(seed=0, objectives=list(OBJECTIVES[:m]), pairs=300_000)
        self.results = out / "results"

    @cached_property
    def reference(self) -> Path:
        """The reference's folder."""
        folder = self.out / "reference"
        if not folder.exists():
            with atomic.staged_folder(folder) as staging:
                scratch = self.out / "reference-scratch"
                scratch.mkdir(parents=True, exist_ok=True)
                self.lab.build(
                    "reference", self.lab.prerequisites()["reference"], FitContext(staging, scratch)
                )
        return folder

    @cached_property
    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """([P, Y] reference, [m, P, Y] rewards)."""
        with np.load(self.reference / "enumerated.npz", allow_pickle=False) as z:
            return z["ref_logps"], self.lab.world.rewards()

    def train(self, method: Any, weights: Any, seed: int, steps: int) -> dict[str, Any]:
        """Train the last cell of a plan, and before it those it needs; folders and cost of each."""
        done: dict[str, Path] = {}
        own = method.model_copy(update={"training": TrainConfig(steps=steps, batch_size=BATCH, lr=LR)})
        cells = own.plan(self.lab, [] if weights is None else [self.lab.objectives.named(weights)], [seed])
        done[cells[0].id] = self.reference
        for cell in cells[1:]:
            folder, note = self.out / cell.id, self.out / f"{cell.id}.json"
            if not note.exists():
                scratch = self.out / f"{cell.id}-scratch"
                # a training that was killed begins anew: half of one has half the cost
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir(parents=True)
                marks: list[float] = []
                with atomic.staged_folder(folder) as staging:
                    needs = {name: done[i] for name, i in cell.needs.items()}
                    context = FitContext(staging, scratch, needs, progress=noting(marks))
                    fitted = own.train(cell, self.lab, context)
                # the loop alone: from its first report to its last
                cost = {"cpu_s": marks[-1] - marks[0], "tokens": fitted.cost.train_tokens}
                atomic.write_json(note, cost)
                shutil.rmtree(scratch)
            done[cell.id] = folder
        notes = [json.loads((self.out / f"{c.id}.json").read_text()) for c in cells[1:]]
        before = {cell.id: note for cell, note in zip(cells[1:], notes)}
        return {"folder": done[cells[-1].id], "own": before.pop(cells[-1].id), "before": before}

    def standing(self, logps: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
        """KL to the exact optimum, to the reference, optimality and values, on both splits."""
        ref, rewards = self.truth
        found: dict[str, Any] = {"weights": list(map(float, weights))}
        for name in ("selection", "heldout"):
            p = self.lab.world.split(name)
            own = exact.standing(logps[p], ref[p], rewards[:, p], weights, BETA)
            found[name] = {
                "kl_to_exact": own.kl_to_exact_nats,
                "kl": own.kl_nats,
                "optimality": own.optimality,
                "values": exact.values(logps[p], rewards[:, p]).mean(0).tolist(),
            }
        return found

    def measure_one(self, folder: Path, weights: np.ndarray) -> dict[str, Any]:
        """Standing of one stored policy."""
        model, tokenizer = self.lab.load_reference(self.reference, "cpu", "float32")
        logps, _ = self.lab.enumerate(load_policy(model, folder), np.arange(self.lab.prompts), tokenizer)
        return self.standing(logps, weights)

    def measure_all(self, folder: Path, weights: list[tuple[float, ...]]) -> list[dict[str, Any]]:
        """Standings of a conditioned policy: its backbone walks the tree of replies once for all weights."""
        from pareto.models.adapters import load_backbone
        from pareto.models.conditioned import put_on, read_conditioned

        model, tokenizer = self.lab.load_reference(self.reference, "cpu", "float32")
        model = load_backbone(model, folder)
        head = put_on(model, read_conditioned(folder))
        ids = torch.from_numpy(language.prompt_ids(self.lab.world, tokenizer).astype(np.int64))
        choices = torch.from_numpy(language.choice_ids(self.lab.world, tokenizer).astype(np.int64))
        found = []
        for states in [self._states(base_of(model), ids, choices)]:
            for w in weights:
                beside = torch.tensor(w, dtype=torch.float32)
                total = torch.zeros(len(ids), 1, dtype=torch.float64)
                for s, hidden in enumerate(states):
                    with torch.no_grad():
                        joined = torch.cat([hidden, beside.expand(*hidden.shape[:-1], self.m)], dim=-1)
                        logps = head(joined).double().log_softmax(-1)
                    if s < len(choices):
                        total = (total[..., None] + logps[:, :, choices[s]]).flatten(1)
                    else:
                        total = total + logps[:, :, language.EOS]
                logps = total.numpy()
                logps = logps - np.logaddexp.reduce(logps, axis=1, keepdims=True)
                found.append(self.standing(logps, np.array(w)))
        return found

    @torch.no_grad()
    def _states(self, base: Any, ids: torch.Tensor, choices: torch.Tensor) -> list[torch.Tensor]:
        """[P, C^s, d] hidden states after every beginning of s phrases."""
        slots, c = choices.shape
        out = base.base_model(input_ids=ids, use_cache=True)
        states = [out.last_hidden_state[:, -1:]]
        for s in range(slots):
            cache = out.past_key_values
            cache.batch_repeat_interleave(c)
            step = choices[s].repeat(len(ids) * c**s)[:, None]
            out = base.base_model(input_ids=step, past_key_values=cache, use_cache=True)
            states.append(out.last_hidden_state[:, -1].view(len(ids), c ** (s + 1), -1))
        return states

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """A named result, from its file or made and put there."""
        file = self.results / f"m{self.m}" / str(len(self.weights)) / f"{name}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(file, make())
            print(file.relative_to(self.results), flush=True)
        return json.loads(file.read_text())

    def separate(self, margins: str, seed: int, steps: int) -> dict[str, Any]:
        """Policies one by one."""

        def make() -> dict[str, Any]:
            method, points, cost, corners = MODPO(margins=margins, **COMMON), [], [], {}
            for w in self.weights:
                done = self.train(method, np.array(w), seed, steps)
                points.append(self.measure_one(done["folder"], np.array(w)))
                cost.append(done["own"])
                corners |= done["before"]
            return {"points": points, "cost": cost, "margins": list(corners.values())}

        return self.result(f"separate/{margins}/{seed}/{steps}", make)

    def conditioned(self, margins: str, seed: int, steps: int) -> dict[str, Any]:
        """One conditioned policy at all weights."""
        method = MODPOConditioned(margins=margins, views=1, **COMMON)

        def make() -> dict[str, Any]:
            done = self.train(method, None, seed, steps)
            return {
                "points": self.measure_all(done["folder"], self.weights),
                "cost": [done["own"]],
            }

        return self.result(f"conditioned/{margins}/{seed}/{steps}", make)


def noting(marks: list[float]) -> Any:
    """Progress that notes the CPU time of every report."""
    return lambda step, total, figures: marks.append(time.process_time())


ONE = {2: 365, 3: 290}
"""Objectives -> steps of the conditioned run that costs 1.5 times the CPU time of one separate run of `STEPS`."""
TOTAL = {("implicit", 2): 5650, ("explicit", 2): 5160, ("implicit", 3): 7090, ("explicit", 3): 6400}
"""Steps at the CPU time of all separate runs, corner policies that serve as margins included."""


@dataclass(frozen=True)
class Job:
    """One result to make.

    Args:
        m: objectives.
        way: "separate" or "conditioned".
        margins: "implicit" or "explicit".
        seed: of the trainings.
        steps: of each training.
    """

    m: int
    way: str
    margins: str
    seed: int
    steps: int

    def do(self, out: Path, every: int) -> None:
        """Make it, unless it is there."""
        torch.set_num_threads(1)
        getattr(Bench(self.m, out, every), self.way)(self.margins, self.seed, self.steps)


def jobs(args: argparse.Namespace) -> Iterator[Job]:
    """What is asked for, most wanted first."""
    for stage in args.stage:
        for seed, m, margins in ((s, m, x) for s in range(args.seeds) for m in args.m for x in args.margins):
            if stage == 1:
                yield Job(m, "conditioned", margins, seed, ONE[m])
                yield Job(m, "separate", margins, seed, STEPS)
            elif stage == 2:
                yield Job(m, "conditioned", margins, seed, TOTAL[margins, m])
            elif seed == 0:
                yield Job(m, "separate", margins, seed, STEPS // 2)
                for share in (0.5, 2, 4):
                    yield Job(m, "conditioned", margins, seed, int(share * ONE[m]))


def main() -> None:
    """Do what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/one_run_front"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--m", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--every", type=int, default=1, help="compare at every nth weight vector")
    parser.add_argument("--stage", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--margins", nargs="+", default=["implicit", "explicit"])
    parser.add_argument("--workers", type=int, default=1, help="processes, a job in each")
    parser.add_argument("--report", action="store_true", help="only write the report of what is there")
    args = parser.parse_args()
    if not args.report:
        # several would make the references at once
        print("references:", *(Bench(m, args.out).reference for m in args.m))
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            for done in as_completed([pool.submit(job.do, args.out, args.every) for job in jobs(args)]):
                done.result()
                write(args.out / "results")
    write(args.out / "results")


def mean(points: list[Mapping[str, Any]], what: str, split: str = "selection") -> float:
    """Mean over policies of a figure."""
    return float(np.mean([p[split][what] for p in points]))


def volume(points: list[Mapping[str, Any]], m: int, split: str = "selection") -> float:
    """Hypervolume of the values, from a point that no trained policy is below."""
    return float(front.hypervolume(np.array([p[split]["values"] for p in points]), np.full(m, -4.0)))


def rows(results: Path) -> list[dict[str, Any]]:
    """One row a (m, weight vectors, margins, way, steps): means over the seeds that have separate runs to compare with."""
    groups: dict[tuple[str, int, str, str, int], list[Any]] = {}
    for file in sorted(results.glob("m*/*/*/*/*/*.json")):
        m, n, way, margins, seed, steps = file.relative_to(results).with_suffix("").parts
        if not (results / m / n / "separate" / margins / seed / f"{STEPS}.json").exists():
            continue
        groups.setdefault((m, int(n), margins, way, int(steps)), []).append(json.loads(file.read_text()))
    found = []
    for (m, n, margins, way, steps), runs in sorted(groups.items()):
        k = int(m[1:])
        own = [sum(c["cpu_s"] for c in r["cost"]) for r in runs]
        per = [own_s / len(r["cost"]) for own_s, r in zip(own, runs)]
        extra = [sum(c["cpu_s"] for c in r.get("margins", [])) for r in runs]
        tokens = [sum(c["tokens"] for c in r["cost"] + r.get("margins", [])) for r in runs]
        points = [r["points"] for r in runs]
        found.append(
            {
                "m": k,
                "weights": n,
                "margins": margins,
                "way": way,
                "steps": steps,
                "seeds": len(runs),
                "cpu_s": float(np.mean(np.add(own, extra))),
                "cpu_one_s": float(np.mean(per)),
                "tokens": float(np.mean(tokens)),
                "tokens_one": float(np.mean([c["tokens"] for r in runs for c in r["cost"]])),
                "kl_to_exact": float(np.mean([mean(p, "kl_to_exact") for p in points])),
                "kl_to_exact_by_seed": [mean(p, "kl_to_exact") for p in points],
                "optimality": float(np.mean([mean(p, "optimality") for p in points])),
                "optimality_heldout": float(np.mean([mean(p, "optimality", "heldout") for p in points])),
                "kl": float(np.mean([mean(p, "kl") for p in points])),
                "hypervolume": float(np.mean([volume(p, k) for p in points])),
            }
        )
    return found


def write(results: Path) -> None:
    """Table as Markdown and JSON."""
    table = rows(results)
    base = {
        (r["m"], r["weights"], r["margins"]): r
        for r in table
        if r["way"] == "separate" and r["steps"] == STEPS
    }
    lines = [
        "# A whole front from one run, against separate runs",
        "",
        "Lab seed 0 (96 prompts, 1,024 replies each, enumerated), full fine-tuning, beta 1, mass anchor "
        f"{ANCHOR}, batches of {BATCH} pairs, learning rate {LR:g}. Separate: a MODPO run of {STEPS} steps for each of the weight "
        "vectors off the corners, of which there are 21 (m = 2) and 28 (m = 3), or every third of them. Conditioned: one `modpo_conditioned` run, "
        "measured at the same weight vectors, none of them seen in training. Cost is tokens trained and CPU time of the training "
        "loops, in units of one separate run; corner policies that serve as margins are in the separate runs' cost. KL is the "
        "mean over policies of KL(pi || pi*) in nats on the prompts trained on, in brackets the range over seeds; hypervolume "
        "from (-4, ..., -4). Implicit: both read labels alone, all of them or those of one objective. Explicit: MODPO reads the "
        "labels of one objective and the rewards of the others, the conditioned run the rewards of all and no label, so that it "
        "has no noise of labels to average out. Policies further from the reference have more hypervolume.",
        "",
        "| m | weight vectors | margins | way | steps | seeds | tokens, runs | CPU time, runs | KL to exact | optimality | held-out "
        "| KL to reference | hypervolume |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]

    for r in table:
        unit = base.get((r["m"], r["weights"], r["margins"]))
        cost, tokens = (
            (r["cpu_s"] / unit["cpu_one_s"], r["tokens"] / unit["tokens_one"]) if unit else (0.0, 0.0)
        )
        lines.append(
            f"| {r['m']} | {r['weights']} | {r['margins']} | {r['way']} | {r['steps']} | {r['seeds']} | {tokens:.2f} | {cost:.2f} "
            f"| {r['kl_to_exact']:.3f} [{min(r['kl_to_exact_by_seed']):.3f}, {max(r['kl_to_exact_by_seed']):.3f}] "
            f"| {r['optimality']:.3f} | {r['optimality_heldout']:.3f} | {r['kl']:.2f} | {r['hypervolume']:.2f} |"
        )
    lines += ["", "![Divergence from the exact optima against cost](one_run_front.svg)"]
    lines += ["", *reading(table, base), ""]
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers", "numpy"))
    lines.append(
        f"Written by `python tests/bench/one_run_front.py`; python {platform.python_version()}, {versions}."
    )
    REPORT.mkdir(parents=True, exist_ok=True)
    atomic.write_text(REPORT / "one_run_front.md", "\n".join(lines) + "\n")
    atomic.write_json(REPORT / "one_run_front.json", {"rows": table})
    atomic.write_text(REPORT / "one_run_front.svg", draw(table, base))


def draw(table: list[dict[str, Any]], base: Mapping[Any, dict[str, Any]]) -> str:
    """Mean KL to the exact optima against cost, as SVG: a line for each way, its colour the number of objectives."""
    with canvas.theme():
        fig, axes = canvas.figure(640, 380, 70, 20, 20, 56)
        for (m, n, margins, way), group in itertools.groupby(
            table, key=lambda r: (r["m"], r["weights"], r["margins"], r["way"])
        ):
            unit, rows = base[m, n, margins], list(group)
            axes.plot(
                [r["cpu_s"] / unit["cpu_one_s"] for r in rows],
                [r["kl_to_exact"] for r in rows],
                color=canvas.RUNS[m - 2],
                marker=canvas.MARKERS[0 if way == "conditioned" else 1],
                linestyle="-" if way == "conditioned" else ":",
                label=f"{'one run' if way == 'conditioned' else 'separate runs'}, m = {m}, {margins} margins",
            )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="CPU time, in units of one separate run",
            ylabel="mean KL to the exact optima, nats",
        )
        for axis, places in (
            (axes.xaxis, (1, 2, 5, 10, 20)),
            (axes.yaxis, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)),
        ):
            axis.set_major_locator(FixedLocator(places))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(NullLocator())
        axes.legend(frameon=False)
        out = io.StringIO()
        fig.savefig(out, format="svg", metadata={"Date": None}, facecolor=canvas.PAPER)
    return out.getvalue()


def reading(table: list[dict[str, Any]], base: Mapping[Any, dict[str, Any]]) -> list[str]:
    """What follows, in words with the numbers put in."""
    found = []
    for (m, n, margins), unit in base.items():
        for r in table:
            if (r["m"], r["weights"], r["margins"], r["way"]) == (m, n, margins, "conditioned"):
                tokens, cost = r["tokens"] / unit["tokens_one"], r["cpu_s"] / unit["cpu_one_s"]
                found.append(
                    f"- m = {m}, {n} weight vectors, {margins} margins, {r['steps']} steps: one run with {tokens:.2f} times the tokens and {cost:.2f} "
                    f"times the CPU time of one separate run (all of those: {unit['tokens'] / unit['tokens_one']:.1f} and "
                    f"{unit['cpu_s'] / unit['cpu_one_s']:.1f}) has {r['kl_to_exact'] / unit['kl_to_exact']:.2f} times their mean "
                    f"KL and {r['hypervolume'] / unit['hypervolume']:.3f} times their hypervolume."
                )
    return found


if __name__ == "__main__":
    main()
