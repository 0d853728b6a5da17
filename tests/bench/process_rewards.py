"""Process reward models on real data: worked GSM8K solutions and tutoring replies, beside length and a bag of words.

A small language model is fitted to the training part first, and every form of reward model starts from it. Parts share no
question (GSM8K) and no dialogue (tutoring). Writes reports/align/process_rewards.*:
`python tests/bench/process_rewards.py [--out runs/process_rewards]`; what is done is kept there and not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pareto.core.loop import TrainConfig, train
from pareto.core.objective import Objective
from pareto.data.encode import encode_prompts, encode_responses
from pareto.data.pairs import Ragged, ResponseTable
from pareto.data.paths import data_file
from pareto.data.preferences import Preferences
from pareto.front import mean_interval
from pareto.models.causal import SmallLlama, build_llama
from pareto.models.reward_models.model import RewardForm, RewardModel
from pareto.models.reward_models.reading import StepTable
from pareto.models.reward_models.steps import AfterText
from pareto.models.reward_models.targets import hindsight_targets
from pareto.models.reward_models.training import train_pairs, train_steps, train_values
from pareto.models.tokenizers import train_tokenizer
from pareto.objectives import Objectives
from pareto.state import atomic
from pareto.tasks.text.baselines import baselines
from pareto.tasks.text.data import PARTS, SplitConfig
from pareto.tasks.text.scoring import mean_per_unit, wins

REPORT = Path("reports/align")
SPLIT = SplitConfig(selection=0.1, heldout=0.25)
BACKBONE = SmallLlama(hidden=48, layers=2, heads=4, vocab_size=1024, max_positions=640)
LANGUAGE = TrainConfig(epochs=1, batch_size=32, lr=3e-3)
REWARDS = TrainConfig(epochs=2, batch_size=32, lr=1e-3, weight_decay=0.01)
GAMMA = 0.9
PROMPT_TOKENS, REPLY_TOKENS = 192, 320


@dataclass(frozen=True)
class Data:
    """Replies with labelled pairs, and for verifiable data the outcome of every reply.

    Args:
        rows: texts and pairs; a prompt's part is that of its `unit`.
        unit: [n_prompts] what must stay in one part.
        outcome: [n_responses] 0 or 1, or None.
        more: further texts for the language model.
    """

    rows: Preferences
    unit: tuple[str, ...]
    outcome: np.ndarray | None
    more: tuple[str, ...] = ()


def gsm8k() -> Data:
    """Four model solutions a question; a right one is better than a wrong one, and the shorter of two right ones is."""
    lines = data_file("gsm8k/example_model_solutions.jsonl").read_text(encoding="utf-8").splitlines()
    prompts, responses, owner, right, pairs, labels = [], [], [], [], [], []
    for line in lines:
        row = json.loads(line)
        own = {}
        for key in sorted(k for k in row if k.startswith(("6b", "175b"))):
            own.setdefault(row[key]["solution"].strip(), bool(row[key]["is_correct"]))
        first = len(responses)
        responses += list(own)
        right += list(own.values())
        owner += [len(prompts)] * len(own)
        prompts.append(row["question"])
        for i, j in product(range(first, len(responses)), repeat=2):
            if i < j:
                pairs.append((i, j))
                correct = float(right[i]) - float(right[j])
                shorter = np.sign(len(responses[j]) - len(responses[i])) if right[i] and right[j] else np.nan
                labels.append((correct if correct else np.nan, shorter))
    training = data_file("gsm8k/train_first3000.jsonl").read_text(encoding="utf-8").splitlines()
    more = tuple(f"{r['question']}\n{r['answer']}" for r in map(json.loads, training))
    rows = _preferences(("correct", "concise"), prompts, responses, owner, pairs, labels)
    return Data(rows, tuple(prompts), np.array(right, dtype=np.float64), more)


def tutoring() -> Data:
    """Tutor replies: the one that a reward model called more accurate; the shorter one; the one that asks a question."""
    given = json.loads(data_file("tutoring/sm_acc.json").read_text(encoding="utf-8"))
    prompts, unit, responses, owner, pairs, labels = [], [], [], [], [], []
    for i, row in enumerate(given):
        a, b = row["chosen"].strip(), row["rejected"].strip()
        prompts.append(row["question"])
        unit.append(row["metadata"]["original_id"].partition(":")[0])
        asks = float(a.endswith("?")) - float(b.endswith("?"))
        shorter = float(np.sign(len(b) - len(a)))
        swap = i % 2  # which one stands first says nothing
        pair, sign = ((b, a), -1.0) if swap else ((a, b), 1.0)
        pairs.append((len(responses), len(responses) + 1))
        labels.append([sign, sign * shorter if shorter else np.nan, sign * asks if asks else np.nan])
        responses += pair
        owner += [i, i]
    rows = _preferences(("accurate", "brief", "asks"), prompts, responses, owner, pairs, labels)
    return Data(rows, tuple(unit), None)


def _preferences(
    names: Sequence[str], prompts: Any, responses: Any, owner: Any, pairs: Any, labels: Any
) -> Preferences:
    a, b = np.array(pairs, dtype=np.int64).T
    return Preferences(
        Objectives(names), prompts, responses, np.array(owner, np.int64), a, b, np.array(labels, np.float32)
    )


class Study:
    """One data set: its parts, its tokens, its language model."""

    def __init__(self, name: str, data: Data, out: Path) -> None:
        self.name, self.data, self.out = name, data, out
        self.part = np.array([SPLIT.part_of(u) for u in data.unit])
        rows = data.rows
        self.part_of_reply = self.part[rows.prompt_of]
        train_texts = [r for r, p in zip(rows.responses, self.part_of_reply) if p == "train"]
        prompts = [q for q, p in zip(rows.prompts, self.part) if p == "train"]
        self.tokenizer = train_tokenizer([*prompts, *train_texts, *data.more], BACKBONE.vocab_size)
        ids = [i[-PROMPT_TOKENS:] for i in encode_prompts(self.tokenizer, rows.prompts)]
        whole = [rows.prompts[p] for p in rows.prompt_of]
        replies, _ = encode_responses(self.tokenizer, whole, rows.responses, [ids[p] for p in rows.prompt_of])
        cut = [r if len(r) <= REPLY_TOKENS else [*r[: REPLY_TOKENS - 1], r[-1]] for r in replies]
        self.table = ResponseTable(Ragged.of(ids), Ragged.of(cut), rows.prompt_of)
        self.steps = AfterText(pattern="\n" if name == "gsm8k" else r'[.!?]["\')\]]*$', min_tokens=2)

    @cached_property
    def all_steps(self) -> StepTable:
        """Every reply and where it is read."""
        return StepTable.of(self.table, self.tokenizer, self.steps)

    @cached_property
    def seen(self) -> tuple[np.ndarray, StepTable]:
        """Replies of the training part, and where they are read."""
        rows = np.flatnonzero(self.part_of_reply == "train")
        table = ResponseTable(self.table.prompts, self.table.responses.take(rows), self.table.prompt_of[rows])
        return rows, StepTable.of(table, self.tokenizer, self.steps)

    def judged(self, model: RewardModel, columns: Sequence[int | None]) -> dict[str, Any]:
        """Held-out accuracies of what a model says at the end of replies and at the step in their middle."""
        steps = self.all_steps
        found = model.at_reads(steps)
        middle = steps.offsets[:-1] + (np.diff(steps.offsets) - 1) // 2
        return {
            "at the end": self.accuracies(found[steps.last], columns),
            "half-way": self.accuracies(found[middle], columns),
        }

    def kept(self, what: str, compute: Callable[[], Any]) -> Any:
        """A result from its file, or computed and kept."""
        path = self.out / f"{self.name}-{what}.json"
        if not path.exists():
            start = time.process_time()
            found = compute()
            atomic.write_json(path, {"found": found, "cpu_s": time.process_time() - start})
        return json.loads(path.read_text())

    def backbone(self) -> Any:
        """A fresh copy of the language model of the training part."""
        from pareto.models.causal import load_causal_lm

        folder = self.out / f"{self.name}-language-model"
        if not folder.is_dir():
            model = build_llama(BACKBONE, self.tokenizer, seed=0)
            more = encode_prompts(self.tokenizer, [t.partition("\n")[0] for t in self.data.more])
            answers, _ = encode_responses(
                self.tokenizer,
                [t.partition("\n")[0] for t in self.data.more],
                [t.partition("\n")[2] for t in self.data.more],
                more,
            )
            seen = np.flatnonzero(self.part_of_reply == "train")
            prompts = [*(self.table.prompts[self.table.prompt_of[i]] for i in seen.tolist()), *more]
            replies = [
                *(self.table.responses[i] for i in seen.tolist()),
                *(a[:REPLY_TOKENS] for a in answers),
            ]
            table = ResponseTable(Ragged.of(prompts), Ragged.of(replies), np.arange(len(prompts)))

            def nll(scored: Any) -> Any:
                return -scored.logps[:, 0] / scored.lengths[:, 0], {}

            train(model, table, np.arange(len(prompts))[:, None], Objective(nll), LANGUAGE, seed=0)
            with atomic.staged_folder(folder) as staging:
                model.save_pretrained(staging)
                self.tokenizer.save_pretrained(staging)
        return load_causal_lm(folder)[0].requires_grad_(True)

    def accuracies(self, score: np.ndarray, columns: Sequence[int | None]) -> dict[str, Any]:
        """Held-out accuracy per objective of scores [n_responses, k]; a unit is a prompt."""
        rows, out = self.data.rows, {}
        for j, column in enumerate(columns):
            if column is None:
                continue
            held = self.part[rows.prompt_of[rows.a]] == "heldout"
            decided = held & (np.nan_to_num(rows.labels[:, j]) != 0)
            margin = (score[rows.a, column] - score[rows.b, column])[decided] * rows.labels[decided, j]
            values = mean_per_unit(rows.prompt_of[rows.a[decided]], wins(margin), len(rows.prompts))
            out[rows.objectives.names[j]] = interval(values[~np.isnan(values)]) | {
                "pairs": int(decided.sum())
            }
        return out

    def plain(self) -> dict[str, Any]:
        """Length and bag of words, fitted and chosen on the same parts."""
        parts = {part: self.data.rows.of_prompts(self.part == part) for part in PARTS}
        return baselines(parts)

    def values(self) -> dict[str, Any]:
        """Regression on r_t + gamma^(n-t) z with r_t = 0 and z whether the solution is right; brevity as a second number."""
        rows, steps = self.seen
        outcome = self.data.outcome
        assert outcome is not None
        lengths = np.log(self.table.responses.lengths[rows].astype(float))
        brief = -(lengths - lengths.mean()) / lengths.std()
        targets = [
            hindsight_targets(np.zeros((n, 2)), np.array([z, s]), gamma=GAMMA)
            for n, z, s in zip(np.diff(steps.offsets), outcome[rows], brief)
        ]
        form = RewardForm(objectives=("correct", "concise"), steps=self.steps)
        model, _ = train_values(
            self.backbone(), self.tokenizer, form, steps, np.concatenate(targets), config=REWARDS, seed=0
        )
        return self.judged(model, (0, 1))

    def classes(self) -> dict[str, Any]:
        """Every step of a right solution is called good: a rollout of one."""
        rows, steps = self.seen
        assert self.data.outcome is not None
        labels = np.repeat(self.data.outcome[rows], np.diff(steps.offsets))
        form = RewardForm(objectives=("correct",), output="probability", steps=self.steps)
        model, _ = train_steps(
            self.backbone(), self.tokenizer, form, steps, labels[:, None], config=REWARDS, seed=0
        )
        return self.judged(model, (0, None))

    def pairs(self) -> dict[str, Any]:
        """One Bradley-Terry model with a dimension an objective, on the labelled pairs of the training part."""
        rows = self.data.rows
        seen = (self.part[rows.prompt_of[rows.a]] == "train") & np.isfinite(rows.labels).any(1)
        form = RewardForm(objectives=rows.objectives.names, output="score", steps=self.steps)
        model, _ = train_pairs(
            self.backbone(),
            self.tokenizer,
            form,
            self.table,
            np.column_stack([rows.a, rows.b])[seen],
            rows.labels[seen].astype(np.float64),
            config=REWARDS,
            seed=0,
        )
        return self.judged(model, tuple(range(len(rows.objectives.names))))


def interval(values: np.ndarray) -> dict[str, Any]:
    """Mean over units with its interval."""
    low, high = mean_interval(values[:, None])
    return {"accuracy": float(values.mean()), "ci95": [float(low[0]), float(high[0])], "units": len(values)}


def table(facts: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "# Process reward models on real data",
        "",
        "Held-out accuracy: share of pairs in the right order, mean over questions (GSM8K) or dialogue states (tutoring) with "
        "95 % intervals over them. Parts share no question and no dialogue. The backbone is a Llama of "
        f"{facts['backbone']['layers']} layers, {facts['backbone']['hidden']} wide, trained from nothing on the training part"
        " (for GSM8K also on 3,000 worked training answers). `length` and `words` see the texts alone. For tutoring, "
        "`accurate` is what another reward model said; `brief` and `asks` (ends with a question) are computed. Written by "
        "`python tests/bench/process_rewards.py`.",
        "",
        "| data | objective | form | accuracy | 95 % | half-way through | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in facts["data"].items():
        for objective, base in own["plain"].items():
            for form, found in own["forms"].items():
                got = found["at the end"].get(objective)
                if got is not None:
                    low, high = got["ci95"]
                    half = found["half-way"][objective]["accuracy"]
                    lines.append(
                        f"| {name} | {objective} | {form} | {got['accuracy']:.3f} | {low:.3f} to {high:.3f} | {half:.3f} "
                        f"| {got['pairs']} |"
                    )
            for form in ("length", "words"):
                low, high = base[form]["ci95"]
                lines.append(
                    f"| {name} | {objective} | {form} | {base[form]['accuracy']:.3f} | {low:.3f} to {high:.3f} | | |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/process_rewards"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "data": {},
        "cpu_s": 0.0,
        "backbone": BACKBONE.model_dump(mode="json"),
        "language_training": LANGUAGE.model_dump(mode="json"),
        "reward_training": REWARDS.model_dump(mode="json"),
        "gamma": GAMMA,
        "split": SPLIT.model_dump(mode="json"),
        "versions": {n: version(n) for n in ("torch", "transformers", "numpy")},
        "platform": platform.platform(),
    }
    for name, read in (("tutoring", tutoring), ("gsm8k", gsm8k)):
        study = Study(name, read(), out)
        forms = {"pairs": study.pairs}
        if study.data.outcome is not None:
            forms = {"values": study.values, "steps": study.classes, **forms}
        plain = study.kept("plain", study.plain)
        own = facts["data"][name] = {
            "plain": plain["found"],
            "forms": {},
            "replies": {part: int((study.part_of_reply == part).sum()) for part in PARTS},
            "tokens": len(study.table.responses.flat),
        }
        facts["cpu_s"] += plain["cpu_s"]
        for form, compute in forms.items():
            found = study.kept(form, compute)
            own["forms"][form] = found["found"]
            facts["cpu_s"] += found["cpu_s"]
            write(facts)


def write(facts: dict[str, Any]) -> None:
    """The report of what is measured so far."""
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "process_rewards.json").write_text(json.dumps(facts, indent=1) + "\n")
    (REPORT / "process_rewards.md").write_text(table(facts))


if __name__ == "__main__":
    main()
