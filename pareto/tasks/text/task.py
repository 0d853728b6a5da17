"""The text task: a causal language model, preference rows, and how the policies made from them are measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.device import resolve_device
from pareto.core.logps import response_logps, sums
from pareto.data.bad_rows import OnBad
from pareto.data.encode import set_prompt_format
from pareto.data.pairs import PreferencePairs
from pareto.data.paths import data_file
from pareto.data.preferences import Preferences
from pareto.data.report import describe
from pareto.data.rows import ReadCounts, ReadRule, read_preferences
from pareto.data.texts import plain
from pareto.data.tokenise import Limits
from pareto.models.adapters import load_policy
from pareto.models.causal import (
    Quantize,
    SmallLlama,
    build_llama,
    check_source,
    load_causal_lm,
    merge_adapter,
    no_progress_bars,
)
from pareto.models.fingerprint import model_fingerprint
from pareto.models.generate import Sampling
from pareto.models.rewards import build_reward, evaluate
from pareto.models.tokenizers import train_tokenizer
from pareto.pricing import TextSizes, examples_seen
from pareto.state import atomic
from pareto.tasks import TASKS
from pareto.tasks.protocol import Scores
from pareto.tasks.text.baselines import baselines
from pareto.tasks.text.data import SplitConfig, files_sha256, label
from pareto.tasks.text.fresh import draw_pairs
from pareto.tasks.text.group_scores import group_figures
from pareto.tasks.text.objectives import TextObjectivesField
from pareto.tasks.text.reference import (
    SFTConfig,
    fine_tune,
    pairs_file,
    read_prompts,
    reference_logps,
    tokenise_parts,
    write_parts,
)
from pareto.tasks.text.replies import Replies, reply_facts, write_replies
from pareto.tasks.text.scoring import score_pairs
from pareto.tasks.text.sizes import text_sizes

SCORING = {"generation"}
"""Settings that only measuring reads; they do not enter the id of the reference."""


class GenerationConfig(Config):
    """Replies that are drawn for scores and facts.

    Args:
        prompts: at most so many prompts of a part are replied to.
        seed: of the draws; every policy gets the same random numbers.
        sampling: how they are drawn.
    """

    prompts: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)
    sampling: Sampling = Sampling()


@TASKS.register("text", source="this suite; implicit rewards as in Rafailov et al. (2023), Eq. 6")
class Text(Config):
    """A user's causal language model on a user's preference rows.

    Policies are scored on prompts that training never saw: by the share of pairs that their implicit reward
    log(pi / pi_ref) puts in the right order, per objective and instruction; or, where the objectives name rewards, by
    those rewards on generated replies. Length, entropy and variety of replies and the divergence from the reference are
    always reported.

    Args:
        data: preference files; relative paths start from the data folder (environment variable PARETO_DATA).
        source: registered reader of the files.
        columns: our column name -> the name it has in the files.
        objectives: names, or mappings of `pareto.tasks.text.objectives.ObjectiveSpec`.
        choice: label in the data that says which response was preferred overall; for methods that learn from such choices
            (maxmin, group_dpo, orchestrator). It need not be an objective.
        pairs_per_prompt: most pairs made of the scored responses to one prompt; None: all.
        on_bad: "stop" at the first row that cannot be read, or "skip" such rows.
        max_bad: with "skip", the largest accepted share of such rows.
        split: which prompts are kept from training.
        model: folder or hub id of the model to start from; or
        from_config: sizes of a small model that starts from nothing, with a tokenizer trained on the training part.
        revision: of the hub id.
        quantize: keep the frozen base of adapters in "4bit" or "8bit" (needs bitsandbytes); the stored reference is whole.
        adapter: folder of an existing adapter (SFT) on that model; the reference keeps it.
        prompt_format: text around {prompt}, or "chat"; None keeps what the tokenizer says.
        limits: longest prompts and responses.
        sft: supervised fine-tuning of the reference, or None for the model as it is.
        generation: how replies are drawn.
        seed: initial weights and order of the fine-tuning.
    """

    kind: Literal["text"] = "text"
    data: tuple[str, ...] = Field(min_length=1)
    source: str = "rows"
    columns: Mapping[str, str] = Field(default_factory=dict)
    objectives: TextObjectivesField
    choice: str | None = None
    pairs_per_prompt: int | None = Field(default=None, ge=1)
    on_bad: OnBad = "stop"
    max_bad: float = Field(default=0.001, ge=0, le=1)
    split: SplitConfig = SplitConfig()
    model: str | None = None
    from_config: SmallLlama | None = None
    revision: str | None = None
    quantize: Quantize | None = None
    adapter: str | None = None
    prompt_format: str | None = None
    limits: Limits = Limits()
    sft: SFTConfig | None = None
    generation: GenerationConfig = GenerationConfig()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_model(self) -> Text:
        if (self.model is None) == (self.from_config is None):
            raise ValueError("give one of model (a folder or hub id) and from_config (sizes)")
        if self.from_config is not None and self.sft is None:
            raise ValueError("a model from_config knows nothing yet: give it sft")
        if self.from_config is not None and (self.adapter or self.revision):
            raise ValueError("adapter and revision belong to a model, not to from_config")
        return self

    def prerequisites(self) -> Mapping[str, Cell]:
        """The reference model with its pairs; its id depends on the content of data, model and adapter."""
        plan = self.model_dump(mode="json", exclude=SCORING)
        for spec in plan["objectives"]:
            del spec["reward"], spec["direction"]
        if self.choice is None:
            del plan["choice"]  # what nobody asks for is no part of what the reference is
        spec = {"task": plan, "data": files_sha256(self.data)}
        if self.model is not None:
            spec["model"] = model_fingerprint(check_source(self.model), self.revision)
        if self.adapter is not None:
            spec["adapter"] = model_fingerprint(check_adapter(self.adapter))
        return {"reference": Cell("prerequisite", "task", spec)}

    def build(self, name: str, cell: Cell, context: FitContext) -> Fitted:
        """Read, split and tokenise the data; make the reference; cache its log-probabilities."""
        data, counts = self.read(context.scratch / "texts")
        divided = self.split.divide(data)
        model, tokenizer = self._start(divided["train"])
        labelled = {
            part: label(rows, self.objectives, tokenizer, self.choice) for part, rows in divided.items()
        }
        parts = {part: rows for part, (rows, _) in labelled.items()}
        positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 10**9
        tokenised = tokenise_parts(parts, tokenizer, self.limits, positions, context.scratch / "ids")
        model = model.to(context.device)
        cost = Cost()
        if self.sft is not None:
            model, result = fine_tune(model, tokenised["train"].pairs, self.sft, context, seed=self.seed)
            cost = Cost(train_tokens=result.tokens)
        with no_progress_bars():
            model.save_pretrained(context.folder)
        tokenizer.save_pretrained(context.folder)
        if self.quantize is not None:  # policies start from what the quantised weights compute
            model = self.load_reference(context.folder, context.device, context.dtype)[0]
        write_parts(context.folder, parts, tokenised, labelled["train"][1], model, context.dtype)
        atomic.write_json(context.folder / "baselines.json", baselines(parts))
        report = {"read": asdict(counts), **{part: asdict(describe(rows)) for part, rows in parts.items()}}
        atomic.write_json(context.folder / "data.json", report)
        return Fitted(cost=cost)

    def read(self, spool: Path | None = None) -> tuple[Preferences, ReadCounts]:
        """The rows with the labels that the objectives take from them.

        Args:
            spool: where the texts of large files may lie; None keeps all in memory.
        """
        bands = {s.column: s.band for s in self.objectives.specs if s.column is not None}
        wanted = [*bands, *([self.choice] if self.choice and self.choice not in bands else [])]
        rule = ReadRule(
            source=self.source,
            columns=self.columns,
            objectives=tuple(wanted) or None,
            bands=bands,
            pairs_per_prompt=self.pairs_per_prompt,
            on_bad=self.on_bad,
            max_bad=self.max_bad,
        )
        return read_preferences([data_file(name) for name in self.data], rule, spool)

    def sizes(self) -> TextSizes:
        """What the training part holds; tokens are guessed from the length of texts."""
        return self._sizes

    @cached_property
    def _sizes(self) -> TextSizes:
        return text_sizes(self)

    def price(self, cell: Cell) -> Cost:
        """What fine-tuning the reference takes, as if it were on all replies."""
        if self.sft is None:
            return Cost()
        seen = examples_seen(self.sft.training.model_dump(), self.sizes().replies)
        return Cost(train_tokens=self.sizes().of_replies(seen))

    def score_price(self) -> Cost:
        """Replies of the longest length to as many prompts as are replied to; both splits' where rewards score them."""
        splits = 2 if self._rewarded else 1
        longest = self.generation.sampling.max_new_tokens
        return Cost(generated_tokens=splits * self.generation.prompts * longest)

    def load_reference(self, folder: Path, device: str, dtype: str) -> tuple[Any, Any]:
        """(model, tokenizer) of the reference; weights stay float32 or quantised, `dtype` is the arithmetic's."""
        model, tokenizer = load_causal_lm(folder, quantize=self.quantize)
        return model if self.quantize is not None else model.to(device), tokenizer

    def load_pairs(self, folder: Path) -> PreferencePairs:
        """Training pairs."""
        return PreferencePairs.load(folder / pairs_file("train"))

    def load_rewards(self, folder: Path) -> np.ndarray:
        """[n_responses, m] scores of the training responses, larger is better, NaN where the data give none."""
        return np.load(folder / "rewards.npy", allow_pickle=False)

    def fresh_pairs(self, folder: Path, model: Any, n: int, seed: int) -> tuple[PreferencePairs, np.ndarray]:
        """Pairs of a policy's replies to training prompts, scored by the rewards; see `draw_pairs`."""
        tokenizer = self.load_reference(folder, "cpu", "float32")[1]
        ids, prompts = self.load_pairs(folder).table.prompts, read_prompts(folder, "train")
        return draw_pairs(model, tokenizer, prompts, ids, self.objectives, self.generation.sampling, n, seed)

    def score(
        self,
        policy: Path,
        kind: str,
        weights: Mapping[str, float] | None,
        split: str,
        needs: Mapping[str, Path],
    ) -> Scores:
        """Order held-out pairs, or score generated replies; and say what the policy's replies are like."""
        folder, reported = needs["reference"], split == "heldout"
        pairs = PreferencePairs.load(folder / pairs_file(split))
        model, reference, tokenizer = self._load(policy, folder)
        logps = sums(pairs.table, response_logps(model, pairs.table))
        ref_logps = reference_logps(folder, pairs)
        ordered = score_pairs(pairs, logps, ref_logps)
        facts: dict[str, Any] = {"pairs": ordered.facts} if reported else {}
        if reported and (groups := group_figures(pairs, logps - ref_logps, policy)) is not None:
            facts["groups"] = groups
        values, units, cost = ordered.values, ordered.units, Cost()
        if self._rewarded or reported:
            replies = self._replies(model, tokenizer, folder, pairs, split, self.generation.prompts)
            cost = Cost(generated_tokens=sum(len(ids) for ids in replies.ids))
            if reported:
                facts |= reply_facts(model, replies, reference, plain_draws=self._plain_draws)
                facts["baselines"] = json.loads((folder / "baselines.json").read_text())
            if self._rewarded:
                values, units = self._rewards(replies, tokenizer), np.arange(len(replies.ids))
        names = np.array([f"{split}-{i}" for i in units])
        return Scores(values, names, split, facts, cost)

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        """One reply to each of the first n held-out prompts: the very replies that were scored."""
        folder = needs["reference"]
        pairs = PreferencePairs.load(folder / pairs_file("heldout"))
        model, _, tokenizer = self._load(policy, folder)
        replies = self._replies(model, tokenizer, folder, pairs, "heldout", n)
        rows = [{"prompt": p, "response": r} for p, r in zip(replies.prompts, replies.texts)]
        if self._rewarded:
            values = self._rewards(replies, tokenizer)
            rows = [{**row, "rewards": self.objectives.named(v)} for row, v in zip(rows, values)]
        return rows

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> None:
        """Nothing: truth is not known on real data."""
        return

    @property
    def _rewarded(self) -> bool:
        """Whether policies are scored by rewards on generated replies."""
        return self.objectives.specs[0].reward is not None

    @property
    def _plain_draws(self) -> bool:
        """Whether replies come from the policy itself and not from a sharpened one."""
        return self.generation.sampling.temperature == 1.0 and self.generation.sampling.top_p == 1.0

    def _start(self, train: Preferences) -> tuple[Any, Any]:
        """The model that the reference starts as, with its tokenizer."""
        if self.from_config is not None:
            texts = [plain(t) for t in (*train.prompts, *train.responses)]
            tokenizer = train_tokenizer(texts, self.from_config.vocab_size)
            model = build_llama(self.from_config, tokenizer, self.seed)
        else:
            model, tokenizer = load_causal_lm(str(self.model), revision=self.revision)
        if self.adapter is not None:
            model = merge_adapter(model, check_adapter(self.adapter))
        if self.prompt_format is not None:
            set_prompt_format(tokenizer, self.prompt_format)
        return model, tokenizer

    def _load(self, policy: Path, folder: Path) -> tuple[Any, Any, Any]:
        """(policy, reference, tokenizer) on the device at hand; a policy with adapters is its own reference: None."""
        reference, tokenizer = self.load_reference(folder, resolve_device("auto"), "float32")
        model = load_policy(reference, policy)
        return model, None if hasattr(model, "peft_config") else reference, tokenizer

    def _replies(
        self, model: Any, tokenizer: Any, folder: Path, pairs: PreferencePairs, part: str, n: int
    ) -> Replies:
        prompts = read_prompts(folder, part)[:n]
        ids = [pairs.table.prompts[i].tolist() for i in range(len(prompts))]
        return write_replies(
            model, tokenizer, prompts, ids, self.generation.sampling, seed=self.generation.seed
        )

    def _rewards(self, replies: Replies, tokenizer: Any) -> np.ndarray:
        """[n, m] rewards of replies, in each objective's own direction."""
        scorers = [build_reward(s.reward or {}).bind(tokenizer) for s in self.objectives.specs]
        return np.column_stack([evaluate(s, replies.prompts, replies.texts) for s in scorers])


def check_adapter(adapter: str) -> str:
    """An adapter's folder: absolute, below the data folder, or below the current folder."""
    from pareto.data.paths import data_folder

    places = [Path(adapter).expanduser(), data_folder() / adapter]
    return str(next((p for p in places if p.is_dir()), places[0]))
