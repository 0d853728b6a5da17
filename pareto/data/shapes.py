"""The shapes a preference row may have, and what each says.

=========================  ===============================================================================
shape                      columns
=========================  ===============================================================================
scored responses           prompt, responses [K], scores [K] (objective -> number)
one pair, many labels      prompt, response_a, response_b, preferences (objective -> 1 a, -1 b, 0 tie, null)
stepwise                   prompt, completions [K], labels [K]
unpaired                   prompt, completion, label
clean and noisy prompt     prompt, noisy_prompt, completion
pair with rationale        prompt, chosen, rejected, rationale (why chosen is better)
pair under two prompts     prompt, other_prompt, chosen, rejected (other_prompt: chosen fits it less)
pair with degraded copies  prompt, chosen, rejected, degraded [L] (chosen with less and less of its content)
pair                       prompt, chosen, rejected
implicit prompt            chosen, rejected
=========================  ===============================================================================

Pairs may name an `objective`, all may carry `weight`, `margin`, `user`, `group`, `id`; other columns are ignored. Texts are
strings or chat messages. The first shape whose columns are all there and not null is the row's shape, so a file may mix
them. What a pair carries beyond itself is checked here and read for training by `pareto.data.supervision`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pareto.data.bad_rows import RowError
from pareto.data.texts import Chat, Text, as_chat, canonical, parse_string, parse_text, shared_length
from pareto.errors import ObjectiveError
from pareto.objectives import Objective

MAX_NUMBER = 1e38
"""Scores, labels, weights and margins are kept in single precision; the difference of two of them must fit, too."""
DEFAULT_OBJECTIVE = "preference"
"""What a row without an `objective` speaks of."""


@dataclass(frozen=True, slots=True)
class Meta:
    """The optional columns of a row; None where absent."""

    weight: float | None = None
    margin: float | None = None
    user: str | None = None
    group: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one prompt, and who wins under each objective (1 a, -1 b, 0 tie, NaN unknown)."""

    prompt: Text
    a: Text
    b: Text
    labels: Mapping[str, float]
    meta: Meta


@dataclass(frozen=True, slots=True)
class Rated:
    """Responses to one prompt, each with numbers under some objectives (NaN unknown)."""

    prompt: Text
    responses: tuple[Text, ...]
    scores: tuple[Mapping[str, float], ...]
    meta: Meta


@dataclass(frozen=True, slots=True)
class Steps:
    """One response in steps, each with a label (NaN unknown)."""

    prompt: Text
    steps: tuple[str, ...]
    labels: tuple[float, ...]
    meta: Meta


Said = Comparison | Rated | Steps
"""What one row says."""


@dataclass(frozen=True)
class Shape:
    """A row shape: its name, the columns that mark it, and how to read it."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Mapping[str, Any], Meta], Said]


def read_shape(row: Mapping[str, Any]) -> tuple[str, Said]:
    """(shape name, what the row says).

    Raises:
        RowError: the columns fit no shape, or one holds something else than its shape says.
    """
    present = {name for name, value in row.items() if value is not None}
    for shape in SHAPES:
        if present.issuperset(shape.columns):
            return shape.name, shape.read(row, _meta(row))
    raise RowError(
        f"columns ({', '.join(sorted(map(str, present))) or 'none'}) fit no row shape; known: "
        + "; ".join(f"{s.name} ({', '.join(s.columns)})" for s in SHAPES)
    )


def _meta(row: Mapping[str, Any]) -> Meta:
    weight = _number(row.get("weight"), "weight", missing=None)
    if weight is not None and weight < 0:
        raise RowError(f"'weight' must be >= 0; got {weight}")
    margin = _number(row.get("margin"), "margin", missing=None)
    return Meta(weight, margin, _code(row, "user"), _code(row, "group"), _code(row, "id"))


def _code(row: Mapping[str, Any], column: str) -> str | None:
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RowError(f"{column!r} must be a string or a whole number; got {value!r}")
    return str(value)


def _number(value: Any, column: str, missing: Any = math.nan) -> Any:
    if value is None:
        return missing
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RowError(f"{column!r} must be a number or null; got {type(value).__name__} {str(value)[:40]!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RowError(f"{column!r} must be finite (null where it is unknown); got {_shown(value)}")
    if abs(number) > MAX_NUMBER:
        raise RowError(
            f"{column!r} must be at most {MAX_NUMBER:g} in size, which single precision holds; got {_shown(value)}"
        )
    return number


def _shown(value: Any) -> str:
    try:
        return str(value)[:40]
    except ValueError:  # Python writes no whole number of more than some thousand digits
        return "a number of thousands of digits"


def _objective(name: Any) -> str:
    try:
        return Objective(parse_string(name, "objective")).name
    except ObjectiveError as error:
        raise RowError(str(error)) from None


def _named_numbers(value: Any, column: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise RowError(f"{column!r} must map objectives to numbers; got {type(value).__name__}")
    return {_objective(k): _number(v, f"{column}.{k}") for k, v in value.items()}


def _list(row: Mapping[str, Any], column: str) -> list[Any]:
    value = row[column]
    if not isinstance(value, list) or not value:
        raise RowError(f"{column!r} must be a list with something in it; got {type(value).__name__}")
    return value


def _same_length(row: Mapping[str, Any], left: str, right: str) -> tuple[list[Any], list[Any]]:
    a, b = _list(row, left), _list(row, right)
    if len(a) != len(b):
        raise RowError(f"{left!r} has {len(a)} entries and {right!r} {len(b)}; they must be as many")
    return a, b


def _prompt(row: Mapping[str, Any], responses: tuple[Text, ...]) -> tuple[Text, tuple[Text, ...]]:
    """The prompt and the responses without it: a string prompt of chat responses is the user's message, and is cut from their start."""
    prompt = parse_text(row["prompt"], "prompt")
    if any(isinstance(r, Chat) for r in responses):
        prompt = as_chat(prompt)
        if not all(isinstance(r, Chat) for r in responses):
            raise RowError("the responses of a row must be all strings or all chat messages")
        start = prompt.messages
        responses = tuple(
            Chat(r.messages[len(start) :]) if isinstance(r, Chat) and r.messages[: len(start)] == start else r
            for r in responses
        )
    if isinstance(prompt, Chat) and row.get("tools"):
        prompt = Chat(prompt.messages, canonical(row["tools"]))
    return prompt, tuple(_filled(r) for r in responses)


def _filled(response: Text) -> Text:
    empty = (
        not response.strip()
        if isinstance(response, str)
        else not any(m.content or m.extra for m in response.messages)
    )
    if empty:
        raise RowError("a response is empty")
    return response


def _differ(prompt: Text, a: Text, b: Text, labels: Mapping[str, float], meta: Meta) -> Comparison:
    if a == b:
        raise RowError("both responses are the same text")
    return Comparison(prompt, a, b, labels, meta)


def _scored(row: Mapping[str, Any], meta: Meta) -> Rated:
    responses, scores = _same_length(row, "responses", "scores")
    texts = tuple(parse_text(r, f"responses[{i}]") for i, r in enumerate(responses))
    prompt, texts = _prompt(row, texts)
    return Rated(prompt, texts, tuple(_named_numbers(s, f"scores[{i}]") for i, s in enumerate(scores)), meta)


def _labelled(row: Mapping[str, Any], meta: Meta) -> Comparison:
    labels = _named_numbers(row["preferences"], "preferences")
    for name, label in labels.items():
        if not (math.isnan(label) or label in (-1.0, 0.0, 1.0)):
            raise RowError(
                f"'preferences.{name}' must be 1 (a), -1 (b), 0 (tie) or null (unknown); got {label:g}"
            )
    texts = (parse_text(row["response_a"], "response_a"), parse_text(row["response_b"], "response_b"))
    prompt, (a, b) = _prompt(row, texts)
    return _differ(prompt, a, b, labels, meta)


def _stepwise(row: Mapping[str, Any], meta: Meta) -> Steps:
    completions, labels = _same_length(row, "completions", "labels")
    numbers = tuple(
        _number(float(v) if isinstance(v, bool) else v, f"labels[{i}]") for i, v in enumerate(labels)
    )
    steps = tuple(parse_string(c, f"completions[{i}]") for i, c in enumerate(completions))
    return Steps(parse_text(row["prompt"], "prompt"), steps, numbers, meta)


def _unpaired(row: Mapping[str, Any], meta: Meta) -> Rated:
    if not isinstance(row["label"], bool) and row["label"] not in (0, 1):
        raise RowError(f"'label' must be true or false; got {row['label']!r}")
    prompt, texts = _prompt(row, (parse_text(row["completion"], "completion"),))
    return Rated(prompt, texts, ({_objective_of(row): float(row["label"])},), meta)


def _pair(row: Mapping[str, Any], meta: Meta) -> Comparison:
    texts = (parse_text(row["chosen"], "chosen"), parse_text(row["rejected"], "rejected"))
    prompt, (chosen, rejected) = _prompt(row, texts)
    return _differ(prompt, chosen, rejected, {_objective_of(row): 1.0}, meta)


def _pair_with(column: str) -> Callable[[Mapping[str, Any], Meta], Comparison]:
    """A pair with one more text, which is checked and left to whoever trains on it."""

    def read(row: Mapping[str, Any], meta: Meta) -> Comparison:
        extra_text(row, column)
        return _pair(row, meta)

    return read


def _with_degraded(row: Mapping[str, Any], meta: Meta) -> Comparison:
    extra_texts(row, "degraded")
    return _pair(row, meta)


def _noisy(row: Mapping[str, Any], meta: Meta) -> Rated:
    """An answer that nobody rated: it says which response belongs to the prompt, and nothing about objectives."""
    extra_text(row, "noisy_prompt")
    prompt, texts = _prompt(row, (parse_text(row["completion"], "completion"),))
    return Rated(prompt, texts, ({},), meta)


def extra_text(row: Mapping[str, Any], column: str) -> Text:
    """A text that a row carries beside its pair.

    Raises:
        RowError: it is no text, or an empty one.
    """
    text = parse_text(row[column], column)
    if isinstance(text, str) and not text.strip():
        raise RowError(f"{column!r} is empty; leave the column out where there is none")
    return text


def extra_texts(row: Mapping[str, Any], column: str) -> tuple[Text, ...]:
    """A list of at least one text that a row carries beside its pair.

    Raises:
        RowError: it is no list, or one of its entries is no text.
    """
    values = row[column]
    if not isinstance(values, list) or not values:
        raise RowError(
            f"{column!r} must be a list of texts; got {type(values).__name__} {str(values)[:40]!r}"
        )
    return tuple(extra_text({f"{column}[{i}]": v}, f"{column}[{i}]") for i, v in enumerate(values))


def _implicit(row: Mapping[str, Any], meta: Meta) -> Comparison:
    chosen, rejected = parse_text(row["chosen"], "chosen"), parse_text(row["rejected"], "rejected")
    if isinstance(chosen, Chat) and isinstance(rejected, Chat):
        n = shared_length(chosen.messages, rejected.messages)
        prompt = Chat(chosen.messages[:n], canonical(row["tools"]) if row.get("tools") else "")
        chosen, rejected = Chat(chosen.messages[n:]), Chat(rejected.messages[n:])
    elif isinstance(chosen, str) and isinstance(rejected, str):
        n = _boundary(chosen[: shared_length(chosen, rejected)])
        prompt, chosen, rejected = chosen[:n], chosen[n:], rejected[n:]
    else:
        raise RowError("'chosen' and 'rejected' must be both strings or both chat messages")
    if not n:
        raise RowError(
            "'chosen' and 'rejected' share no start from which to take the prompt; give a 'prompt'"
        )
    return _differ(prompt, _filled(chosen), _filled(rejected), {_objective_of(row): 1.0}, meta)


def _boundary(shared: str) -> int:
    """Where the prompt ends in the shared start of two texts.

    After the last turn mark `Assistant:` where there is one, so that equal first words of two answers stay in the
    answers; else before the word in which the texts part.
    """
    turn = shared.rfind("\n\nAssistant:")
    if turn >= 0:
        return turn + len("\n\nAssistant:")
    word = max(shared.rfind(" "), shared.rfind("\n"))
    return word if word > 0 else len(shared)


def _objective_of(row: Mapping[str, Any]) -> str:
    name = row.get("objective")
    return DEFAULT_OBJECTIVE if name is None else _objective(name)


SHAPES = (
    Shape("scored responses", ("prompt", "responses", "scores"), _scored),
    Shape("one pair, many labels", ("prompt", "response_a", "response_b", "preferences"), _labelled),
    Shape("stepwise", ("prompt", "completions", "labels"), _stepwise),
    Shape("unpaired", ("prompt", "completion", "label"), _unpaired),
    Shape("clean and noisy prompt", ("prompt", "noisy_prompt", "completion"), _noisy),
    Shape("pair with rationale", ("prompt", "chosen", "rejected", "rationale"), _pair_with("rationale")),
    Shape(
        "pair under two prompts", ("prompt", "other_prompt", "chosen", "rejected"), _pair_with("other_prompt")
    ),
    Shape("pair with degraded copies", ("prompt", "chosen", "rejected", "degraded"), _with_degraded),
    Shape("pair", ("prompt", "chosen", "rejected"), _pair),
    Shape("implicit prompt", ("chosen", "rejected"), _implicit),
)
