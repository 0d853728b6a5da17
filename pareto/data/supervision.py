"""What some losses need beyond pairs, from rows to examples: rationales, other prompts, noisy prompts, degraded copies, revisions.

`read_supervised` reads rows of one of these shapes; a builder lays them out as examples of K responses (`ExampleSet`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pareto.data.bad_rows import BadRows, RowError
from pareto.data.encode import Ids, encode_prompts, encode_responses
from pareto.data.example_sets import PAIR, ExampleSet, Layout, share_prompts, unpaired_examples
from pareto.data.preferences import Preferences
from pareto.data.rows import ReadRule
from pareto.data.shapes import SHAPES, Comparison, Rated, extra_text, extra_texts, read_shape
from pareto.data.sources import SOURCES
from pareto.data.texts import Chat, Message, Text, as_chat, plain
from pareto.data.tokenise import Limits, tokenise
from pareto.errors import DataError
from pareto.rng import generator

Kind = Literal[
    "pair with rationale",
    "pair under two prompts",
    "pair with degraded copies",
    "clean and noisy prompt",
    "pair",
]

RATIONALE_TEMPLATE = "{prompt}\n\nResponse A:\n{chosen}\n\nResponse B:\n{rejected}\n\nWhy is response A better than response B?\n"
"""Prompt of a rationale; this suite's wording."""

REVISION_TEMPLATE = "{prompt}\n\nA first answer:\n{draft}\n\nWrite a better answer.\n"
"""Prompt of a revision; this suite's wording."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """One row with what it carries beyond a pair.

    Args:
        prompt: of the row.
        responses: chosen and rejected, or the one completion.
        extra: rationale, other or noisy prompt, or degraded copies; empty for a plain pair.
    """

    prompt: Text
    responses: tuple[Text, ...]
    extra: tuple[Text, ...] = ()


EXTRAS: Mapping[str, Callable[[Mapping[str, Any]], tuple[Text, ...]]] = {
    "pair with rationale": lambda row: (extra_text(row, "rationale"),),
    "pair under two prompts": lambda row: (extra_text(row, "other_prompt"),),
    "pair with degraded copies": lambda row: extra_texts(row, "degraded"),
    "clean and noisy prompt": lambda row: (extra_text(row, "noisy_prompt"),),
    "pair": lambda row: (),
}


def read_supervised(paths: Iterable[Path], kind: Kind, rule: ReadRule | None = None) -> list[Supervised]:
    """Read rows that all carry the same thing beyond a pair.

    Args:
        paths: files, read in order.
        kind: the shape that every row must have (`pareto.data.shapes`).
        rule: source, column names, and what to do with bad rows.

    Returns:
        The rows in order.

    Raises:
        DataError: a row of another shape or a broken one (with file and line), too many of them, or no row at all.
    """
    rule = rule or ReadRule()
    ours = {theirs: name for name, theirs in rule.columns.items()}
    bad, rows = BadRows(rule.on_bad, rule.max_bad), []
    for path in paths:
        for line, columns in SOURCES.get(rule.source)(Path(path), bad):
            try:
                rows.append(_supervised({ours.get(k, k): v for k, v in columns.items()}, kind))
            except RowError as error:
                bad.add(Path(path), line, str(error))
    bad.check(len(rows) + bad.n)
    if not rows:
        raise DataError(f"the data hold no row of the shape {kind!r}")
    return rows


def _supervised(row: Mapping[str, Any], kind: Kind) -> Supervised:
    shape, said = read_shape(row)
    if shape != kind:
        wanted = next(s.columns for s in SHAPES if s.name == kind)
        raise RowError(f"expected a row of the shape {kind!r} ({', '.join(wanted)}); got {shape!r}")
    if isinstance(said, Comparison):
        return Supervised(said.prompt, (said.a, said.b), EXTRAS[kind](row))
    assert isinstance(said, Rated)  # the only other shape among the kinds
    return Supervised(said.prompt, said.responses, EXTRAS[kind](row))


def rationale_examples(
    rows: Sequence[Supervised],
    tokenizer: Any,
    limits: Limits | None = None,
    *,
    template: str = RATIONALE_TEMPLATE,
) -> ExampleSet:
    """Pairs, and their rationale as an answer to prompt and both responses: what loss "rationale" wants.

    Args:
        rows: of the shape "pair with rationale".
        tokenizer: a Hugging Face tokenizer.
        limits: examples with a longer text are left out.
        template: of the rationale's prompt, with {prompt}, {chosen}, {rejected}.
    """
    couples = [
        [
            *((r.prompt, y) for y in r.responses),
            (fill(template, r.prompt, chosen=r.responses[0], rejected=r.responses[1]), r.extra[0]),
        ]
        for r in rows
    ]
    return _encoded(couples, tokenizer, limits, {**PAIR, "rationale": (2,)})


def other_prompt_examples(
    rows: Sequence[Supervised], tokenizer: Any, limits: Limits | None = None
) -> ExampleSet:
    """Pairs under their own and under another prompt: what loss "mapl" wants.

    Args:
        rows: of the shape "pair under two prompts".
        tokenizer: a Hugging Face tokenizer.
        limits: examples with a longer text are left out.
    """
    couples = [[(p, y) for p in (r.prompt, _like(r.prompt, r.extra[0])) for y in r.responses] for r in rows]
    return _encoded(couples, tokenizer, limits, {**PAIR, "other_prompt": (2, 3)})


def revision_examples(
    rows: Sequence[Supervised],
    tokenizer: Any,
    limits: Limits | None = None,
    *,
    template: str = REVISION_TEMPLATE,
) -> ExampleSet:
    """Pairs, and each response as a revision of each: what loss "srpo" wants.

    Args:
        rows: pairs of any kind.
        tokenizer: a Hugging Face tokenizer.
        limits: examples with a longer text are left out.
        template: of a revision's prompt, with {prompt} and {draft}.
    """
    couples = [
        [
            *((r.prompt, y) for y in r.responses),
            *((fill(template, r.prompt, draft=draft), y) for draft in r.responses for y in r.responses),
        ]
        for r in rows
    ]
    return _encoded(couples, tokenizer, limits, {**PAIR, "revisions": (2, 3, 4, 5)})


def degraded_examples(rows: Sequence[Supervised], tokenizer: Any, limits: Limits | None = None) -> ExampleSet:
    """Pairs, and copies of the chosen response with less and less content: what loss "spo_degree" wants.

    Args:
        rows: of the shape "pair with degraded copies", all with as many; `pareto.data.degrade` makes copies.
        tokenizer: a Hugging Face tokenizer.
        limits: examples with a longer text are left out.

    Raises:
        DataError: rows with different numbers of copies.
    """
    counts = {len(r.extra) for r in rows}
    if len(counts) != 1 or not all(counts):
        raise DataError(f"every row needs as many degraded copies, at least one; got {sorted(counts)}")
    couples = [[(r.prompt, y) for y in (*r.responses, *r.extra)] for r in rows]
    slots = {**PAIR, "degraded": tuple(range(2, 2 + counts.pop()))}
    return _encoded(couples, tokenizer, limits, slots)


def contrast_examples(
    rows: Sequence[Supervised], tokenizer: Any, limits: Limits | None = None, *, seed: int = 0
) -> ExampleSet:
    """Couples of rows, each answer after its clean and its noisy prompt: what loss "coipo" wants.

    Args:
        rows: of the shape "clean and noisy prompt".
        tokenizer: a Hugging Face tokenizer.
        limits: couples with a longer text are left out.
        seed: which rows form a couple; of an odd number one is left out.

    Raises:
        DataError: fewer than two rows.
    """
    if len(rows) < 2:
        raise DataError(f"a contrast needs at least two rows; got {len(rows)}")
    order = generator("couples of prompts", seed).permutation(len(rows))
    couples = []
    for i, j in zip(order[0::2], order[1::2]):
        pair = rows[int(i)], rows[int(j)]
        couples.append([(p, r.responses[0]) for r in pair for p in (r.prompt, _like(r.prompt, r.extra[0]))])
    return _encoded(couples, tokenizer, limits, {"clean": (0, 2), "noisy": (1, 3)})


def unpaired_labels(data: Preferences, objective: str) -> tuple[np.ndarray, np.ndarray]:
    """Responses with a thumb up or down under an objective: what `unpaired_examples` takes.

    Args:
        data: with rows of the shape "unpaired".
        objective: whose labels.

    Returns:
        responses [n] int64 into `data.responses`, labels [n] bool.

    Raises:
        ObjectiveError: an unknown objective.
        DataError: no label under it, or scores other than 0 and 1.
    """
    column = data.objectives.index(objective)
    scores = np.zeros(0) if data.scores is None else data.scores[:, column]
    known = ~np.isnan(scores)
    if not known.any():
        raise DataError(f"no response is labelled true or false under objective {objective!r}")
    if not np.isin(scores[known], (0.0, 1.0)).all():
        raise DataError(
            f"unpaired labels under {objective!r} must be true or false; got scores such as "
            f"{float(scores[known][~np.isin(scores[known], (0.0, 1.0))][0])}: scored responses are paired instead"
        )
    return data.rated[known], scores[known] > 0.5


def thumb_examples(
    data: Preferences,
    objective: str,
    tokenizer: Any,
    limits: Limits | None = None,
    *,
    seed: int = 0,
    baseline: bool = True,
) -> ExampleSet:
    """Responses with a thumb up or down, tokenised and laid out: what losses "kto" and "bco_unpaired" want.

    Args:
        data: with rows of the shape "unpaired".
        objective: whose labels.
        tokenizer: a Hugging Face tokenizer.
        limits: longest texts, and what happens to longer ones.
        seed: who gets whose response as baseline.
        baseline: False leaves the second response out.

    Raises:
        DataError: no label under the objective, or nothing left within the limits.
    """
    responses, labels = unpaired_labels(data, objective)
    tokenised = tokenise(data, tokenizer, limits or Limits())
    place = np.full(len(data.responses), -1)
    place[tokenised.responses] = np.arange(len(tokenised.responses))
    kept = place[responses] >= 0
    made = unpaired_examples(
        tokenised.pairs.table, place[responses[kept]], labels[kept], seed=seed, baseline=baseline
    )
    return replace(made, dropped=int((~kept).sum()))


def fill(template: str, prompt: Text, **texts: Text) -> Text:
    """A prompt made of other texts: the same kind as the prompt, a chat becomes one user message.

    Args:
        template: with {prompt} and a field for each text; other braces stay as they are.
        prompt: of the row.
        texts: by field.
    """
    parts = {"prompt": prompt, **texts}
    filled = template
    marks = {name: f"\0{name}\0" for name in parts}  # what a text says is never taken for a field
    for name, mark in marks.items():
        filled = filled.replace(f"{{{name}}}", mark)
    for name, mark in marks.items():
        filled = filled.replace(mark, plain(parts[name]))
    return Chat((Message("user", filled),)) if isinstance(prompt, Chat) else filled


def _like(prompt: Text, other: Text) -> Text:
    """Another prompt in the form of the row's own."""
    return as_chat(other) if isinstance(prompt, Chat) else other


def _encoded(
    couples: Sequence[Sequence[tuple[Text, Text]]],
    tokenizer: Any,
    limits: Limits | None,
    slots: Mapping[str, tuple[int, ...]],
) -> ExampleSet:
    """Tokenise n examples of K (prompt, response), leave out over-long ones, share what prompts have in common."""
    limits = limits or Limits()
    flat = [couple for example in couples for couple in example]
    prompts = [p for p, _ in flat]
    prompt_ids = encode_prompts(tokenizer, prompts)
    response_ids, mismatch = encode_responses(tokenizer, prompts, [r for _, r in flat], prompt_ids)
    if mismatch.mean() > limits.max_mismatch:
        raise DataError(
            f"in {mismatch.sum()} of {len(flat)} texts the conversation does not start with its prompt as the chat template "
            "renders it; raise limits.max_mismatch to tokenise those replies apart"
        )
    k = len(couples[0])
    items: list[list[tuple[Ids, Ids]]] = []
    for i in range(0, len(flat), k):
        item = list(zip(prompt_ids[i : i + k], response_ids[i : i + k]))
        if all(len(p) <= limits.prompt_tokens and len(r) <= limits.response_tokens for p, r in item):
            items.append(item)
    if not items:
        raise DataError(f"no example is left within the limits ({limits})")
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    table, examples, context = share_prompts(items, start)
    return ExampleSet(table, examples, Layout(slots, context), {}, len(couples) - len(items))
