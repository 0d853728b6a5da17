"""Long answers to questions with marked errors, and which of four answers people preferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from pareto.data.bad_rows import BadRows, RowError
from pareto.data.files import Row, read_rows
from pareto.data.sources import SOURCES
from pareto.data.texts import parse_string

OVERALL = {1: 1, 2: -1, 0: 0}
"""Codes of `preference`: the first answer, the second, a tie."""
ASPECT_OF = {
    "Irrelevant": "relevance",
    "Redundant": "relevance",
    "Incoherent": "relevance",
    "Wrong-Grounding": "factuality",
    "Unverifiable": "factuality",
}
"""Error -> the objective that it is against."""


@SOURCES.register(
    "qa_feedback",
    source="allenai/FineGrainedRLHF, qa_feedback (Apache-2.0); Wu et al. (2023), arXiv 2306.01693",
)
def qa_feedback(path: Path, bad: BadRows) -> Iterator[Row]:
    """Read questions with four predictions as pairs of answers; the prompt is the question alone.

    Two kinds of pairs. The annotator's correction of prediction 1 against prediction 1 itself: it wins under `relevance` and
    `factuality` where an error of that kind was marked, and under `completeness` where information was missing; else the two
    tie. And all pairs of the four predictions under `overall`, by preference, with ties. Nobody said which of two
    predictions is more factual, nor whether the correction is preferred overall: those labels are unknown.

    So the three aspects never disagree about a pair; they differ in which pairs they decide, and in what length says of the
    winner: corrections of irrelevant text are shorter, those of incomplete text longer.

    Args:
        path: any file `read_rows` reads.
        bad: told of every row that cannot be used.

    Yields:
        The line of a question, and a row of it.
    """
    yield from _read(path, bad, lambda row: parse_string(row.get("question"), "question"))


@SOURCES.register(
    "qa_feedback_passages",
    source="allenai/FineGrainedRLHF, qa_feedback (Apache-2.0); Wu et al. (2023), arXiv 2306.01693",
)
def qa_feedback_passages(path: Path, bad: BadRows) -> Iterator[Row]:
    """Read as `qa_feedback`, with the passages that answers should rest on behind the question, in the authors' own form."""
    yield from _read(path, bad, _with_passages)


def _with_passages(row: Mapping[str, Any]) -> str:
    passages = row.get("passages")
    if not isinstance(passages, list) or not all(isinstance(p, list) and p for p in passages):
        raise RowError("'passages' must be a list of lists, a title and its sentences each")
    texts = [f"wikipage: {title} text: {' '.join(map(str, sentences))}" for title, *sentences in passages]
    return f"question: {parse_string(row.get('question'), 'question')} context: {' '.join(texts)}"


def _read(path: Path, bad: BadRows, prompt_of: Any) -> Iterator[Row]:
    for line, row in read_rows(path, bad):
        try:
            rows = [*_aspects(row), *_preferences(row)]
            prompt = prompt_of(row)
        except RowError as error:
            bad.add(path, line, str(error))
            continue
        for own in rows:
            yield line, {"prompt": prompt, **own}


def _aspects(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The correction against prediction 1, where there is a correction that differs from it."""
    feedback = row.get("feedback")
    if not isinstance(feedback, dict) or not isinstance(feedback.get("errors"), list):
        raise RowError("'feedback' must be a mapping with a list of 'errors'")
    corrected = parse_string(feedback.get("corrected-prediction"), "feedback.corrected-prediction").strip()
    first = parse_string(row.get("prediction 1"), "prediction 1").strip()
    if not corrected or corrected == first:
        return
    labels = {"relevance": 0, "factuality": 0, "completeness": int(bool(feedback.get("missing-info")))}
    for error in feedback["errors"]:
        kind = error.get("error type") if isinstance(error, dict) else error
        if kind not in ASPECT_OF:
            raise RowError(f"an error must be one of {', '.join(ASPECT_OF)}; got {str(kind)[:40]!r}")
        labels[ASPECT_OF[kind]] = 1
    yield {"response_a": corrected, "response_b": first, "preferences": labels}


def _preferences(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The six pairs of predictions, in the order 12, 13, 14, 23, 24, 34."""
    said = row.get("preference")
    if not isinstance(said, list) or len(said) != 6 or any(code not in OVERALL for code in said):
        raise RowError(f"'preference' must be six of 0, 1, 2; got {str(said)[:60]!r}")
    answers = [parse_string(row.get(f"prediction {i}"), f"prediction {i}").strip() for i in range(1, 5)]
    for (a, b), code in zip(combinations(answers, 2), said):
        if a != b:
            yield {"response_a": a, "response_b": b, "preferences": {"overall": OVERALL[code]}}
