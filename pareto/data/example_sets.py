"""Examples that are more than a pair: which response plays which part, and answers that stand under several prompts.

Trainers score examples of K responses to one prompt. A loss that wants an answer under another prompt (a rationale, a
revision, a noisy wording) fits that form too: the prompt of the example is what its prompts have in common, and the rest
of each prompt leads its response as context that is not scored. So whatever is common is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pareto.data.pairs import Ragged, ResponseTable
from pareto.data.texts import shared_length
from pareto.errors import DataError, ShapeError
from pareto.rng import generator

Ids = Sequence[int]
PAIR: Mapping[str, tuple[int, ...]] = {"pair": (0, 1)}
"""Parts of an ordinary pair: chosen, rejected."""


@dataclass(frozen=True)
class Layout:
    """Which of an example's K responses plays which part.

    Args:
        slots: part -> positions in 0..K-1. Parts: "pair" (chosen, rejected); "response" and "mismatched" (unpaired);
            "rationale"; "calibration"; "other_prompt" (chosen, rejected); "revisions" (chosen and rejected as revisions of
            the chosen, then of the rejected response); "degraded" (less and less of the chosen response); "clean" and
            "noisy" (two examples each).
        context: [n_responses] int64, leading tokens of each response that belong to its prompt, or None.
    """

    slots: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: dict(PAIR))
    context: np.ndarray | None = None


@dataclass(frozen=True)
class ExampleSet:
    """What a loss of more than pairs is trained on.

    Args:
        table: prompts and responses.
        examples: [n, K] int64, response indices.
        layout: which response plays which part.
        columns: name -> [n], what the data say of each example (label, weight, ...).
        dropped: examples left out because a text was longer than the limits.
    """

    table: ResponseTable
    examples: np.ndarray
    layout: Layout = Layout()
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    dropped: int = 0

    def __post_init__(self) -> None:
        n, k = self.examples.shape
        for name, column in self.columns.items():
            if len(column) != n:
                raise ShapeError(
                    f"column {name!r} must have an entry for each of {n} examples; got {len(column)}"
                )
        beyond = {p: s for p, s in self.layout.slots.items() if s and max(s) >= k}
        if beyond:
            raise ShapeError(f"an example has {k} responses; these parts lie beyond: {beyond}")


def share_prompts(
    items: Sequence[Sequence[tuple[Ids, Ids]]], start: int | None = None
) -> tuple[ResponseTable, np.ndarray, np.ndarray]:
    """Lay out answers to several prompts as responses to what their prompts have in common.

    Args:
        items: n examples of K (prompt ids, response ids).
        start: token to put before prompts that have nothing in common (a beginning-of-text token).

    Returns:
        The table, examples [n, K], and context [n * K]: tokens at the start of each response that are still prompt.

    Raises:
        DataError: prompts of an example have no first token in common and there is no `start`.
        ShapeError: examples of different K.
    """
    if len({len(item) for item in items}) != 1:
        raise ShapeError(
            "every example must have as many responses; got none, or " + str([len(i) for i in items[:5]])
        )
    prompts: list[Ids] = []
    responses: list[list[int]] = []
    context: list[int] = []
    for i, item in enumerate(items):
        shared = min(shared_length(item[0][0], prompt) for prompt, _ in item)
        if not shared and start is None:
            raise DataError(
                f"the prompts of example {i} have no first token in common; give a beginning-of-text token to put before them"
            )
        prompts.append(list(item[0][0][:shared]) or [start])  # pyright: ignore[reportArgumentType]
        for prompt, response in item:
            context.append(len(prompt) - shared)
            responses.append([*prompt[shared:], *response])
    k = len(items[0])
    table = ResponseTable(Ragged.of(prompts), Ragged.of(responses), np.repeat(np.arange(len(items)), k))
    return table, np.arange(len(responses)).reshape(-1, k), np.array(context, np.int64)


def unpaired_examples(
    table: ResponseTable, responses: np.ndarray, labels: np.ndarray, *, seed: int = 0, baseline: bool = True
) -> ExampleSet:
    """Single responses with a thumb up or down, each beside a response to another prompt.

    The second response says how much the policy raises just anything after this prompt: KTO's baseline. As both answer the
    same prompt here, the prompt is computed once.

    Args:
        table: prompts and responses.
        responses: [n] int64.
        labels: [n] bool, whether each is desirable.
        seed: who gets whose response.
        baseline: False leaves the second response out (baseline 0).

    Raises:
        DataError: not a response and a label each; or all answer the same prompt, so that there is no other.
    """
    labels = np.asarray(labels)
    if len(responses) != len(labels) or not len(labels) or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"expected a label (true or false) for each of {len(responses)} responses; got {len(labels)} labels"
        )
    columns = {"label": labels.astype(np.float32)}
    if not baseline:
        return ExampleSet(table, responses[:, None], Layout({"response": (0,)}), columns)
    owner = table.prompt_of[responses]
    if len(np.unique(owner)) < 2:
        raise DataError(
            "unpaired examples need responses to at least two prompts for a baseline; give baseline=False"
        )
    order = generator("mismatched responses", seed).permutation(len(responses))
    order = order[np.argsort(owner[order], kind="stable")]  # prompt by prompt, shuffled within
    # A shift by the largest group leaves nobody with a response to the own prompt, unless one prompt has over half of them.
    shifted = np.roll(order, -int(np.bincount(owner).max()))
    partner = np.empty_like(order)
    partner[order] = shifted
    own = np.flatnonzero(owner[partner] == owner)
    others = {int(p): np.flatnonzero(owner != p) for p in np.unique(owner[own])}
    for j, i in enumerate(own):
        choices = others[int(owner[i])]
        partner[i] = choices[j % len(choices)]
    mismatched = [table.responses[int(r)] for r in responses[partner]]
    wider = ResponseTable(
        table.prompts,
        Ragged.of([*(table.responses[i] for i in range(len(table.responses))), *mismatched]),
        np.concatenate([table.prompt_of, owner]),
    )
    examples = np.column_stack([responses, len(table.responses) + np.arange(len(responses))])
    return ExampleSet(wider, examples, Layout({"response": (0,), "mismatched": (1,)}), columns)
