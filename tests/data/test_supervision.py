"""What losses need beyond pairs: rows read, refused with their line, and laid out token for token."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pareto.data.preferences import Preferences
from pareto.data.rows import ReadRule, read_preferences
from pareto.data.supervision import (
    RATIONALE_TEMPLATE,
    Supervised,
    contrast_examples,
    degraded_examples,
    fill,
    other_prompt_examples,
    rationale_examples,
    read_supervised,
    revision_examples,
    thumb_examples,
    unpaired_labels,
)
from pareto.data.texts import Chat, Message
from pareto.data.tokenise import Limits
from pareto.errors import DataError, ObjectiveError
from tests.models import tiny

PAIR = {"prompt": "the cat", "chosen": " sat down", "rejected": " ran"}
ROWS = {
    "pair with rationale": PAIR | {"rationale": " because it was calm"},
    "pair under two prompts": PAIR | {"other_prompt": "a dog"},
    "pair with degraded copies": PAIR | {"degraded": [" sat", " down"]},
    "clean and noisy prompt": {"prompt": "the cat", "noisy_prompt": "teh cta", "completion": " sat"},
    "pair": PAIR,
}
EXTRA = {
    "pair with rationale": (" because it was calm",),
    "pair under two prompts": ("a dog",),
    "pair with degraded copies": (" sat", " down"),
    "clean and noisy prompt": ("teh cta",),
    "pair": (),
}


def write(path, *rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_read_with_what_they_carry(tmp_path, kind):
    (row,) = read_supervised([write(tmp_path / "rows.jsonl", ROWS[kind])], kind)
    want = (" sat",) if kind == "clean and noisy prompt" else (" sat down", " ran")
    assert row == Supervised("the cat", want, EXTRA[kind])


def test_all_of_them_are_ordinary_preferences_too(tmp_path):
    """`pareto data check` counts them by shape; the pairs are one pair, the bare answer a response without a score."""
    data, counts = read_preferences([write(tmp_path / "rows.jsonl", *ROWS.values())])
    assert counts.shapes == dict.fromkeys(ROWS, 1)
    assert len(data) == 4  # one says it again in every shape, which makes four opinions on it
    assert counts.repeated == 3
    assert len(data.rated) == 1
    assert len(data.responses) == 3


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (
            "pair with rationale",
            PAIR,
            "expected a row of the shape 'pair with rationale' .*rationale.*; got 'pair'",
        ),
        ("pair with rationale", PAIR | {"rationale": " "}, "'rationale' is empty"),
        ("pair with rationale", PAIR | {"rationale": 3}, "'rationale' must be a string"),
        ("pair with degraded copies", PAIR | {"degraded": "x"}, "'degraded' must be a list"),
        ("pair with degraded copies", PAIR | {"degraded": ["x", ""]}, r"'degraded\[1\]' is empty"),
        ("clean and noisy prompt", ROWS["clean and noisy prompt"] | {"noisy_prompt": []}, "'noisy_prompt'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, kind, row, reason):
    path = write(tmp_path / "rows.jsonl", ROWS[kind], row)
    with pytest.raises(DataError, match=f"rows.jsonl:2: {reason}"):
        read_supervised([path], kind)
    skipped = read_supervised([path], kind, ReadRule(on_bad="skip", max_bad=0.6))
    assert len(skipped) == 1


def test_columns_may_have_other_names_and_no_rows_are_an_error(tmp_path):
    row = PAIR | {"why": "calm"}
    path = write(tmp_path / "rows.jsonl", row)
    (read,) = read_supervised([path], "pair with rationale", ReadRule(columns={"rationale": "why"}))
    assert read.extra == ("calm",)
    with pytest.raises(DataError, match="no row"):
        read_supervised([], "pair")


def sequences(made):
    """[n][K] (what stands before the answer, the answer) as token ids."""
    table, context = made.table, made.layout.context
    return [
        [
            (
                [
                    *table.prompts[table.prompt_of[r]].tolist(),
                    *table.responses[int(r)][: context[r]].tolist(),
                ],
                table.responses[int(r)][context[r] :].tolist(),
            )
            for r in row
        ]
        for row in made.examples
    ]


def ids(tokenizer, prompt, response):
    """One couple tokenised on its own."""
    plain = tokenizer(response, add_special_tokens=False)["input_ids"]
    return tokenizer(prompt)["input_ids"], [*plain, tokenizer.eos_token_id]


def test_rationales_answer_prompt_and_both_responses():
    tokenizer = tiny.tokenizer()
    row = Supervised("the cat", (" sat down", " ran"), (" because",))
    made = rationale_examples([row], tokenizer)
    question = RATIONALE_TEMPLATE.format(prompt="the cat", chosen=" sat down", rejected=" ran")
    want = [("the cat", " sat down"), ("the cat", " ran"), (question, " because")]
    assert sequences(made) == [[ids(tokenizer, *w) for w in want]]
    assert made.layout.slots == {"pair": (0, 1), "rationale": (2,)}


def test_other_prompts_and_revisions():
    tokenizer = tiny.tokenizer()
    row = Supervised("the cat", (" sat", " ran"), ("a dog",))
    other = other_prompt_examples([row], tokenizer)
    want = [(p, y) for p in ("the cat", "a dog") for y in (" sat", " ran")]
    assert sequences(other) == [[ids(tokenizer, *w) for w in want]]
    made = revision_examples([row], tokenizer, template="{prompt} | {draft} |")
    want = [("the cat", y) for y in (" sat", " ran")]
    want += [(f"the cat | {draft} |", y) for draft in (" sat", " ran") for y in (" sat", " ran")]
    assert sequences(made) == [[ids(tokenizer, *w) for w in want]]
    assert made.layout.slots["revisions"] == (2, 3, 4, 5)


def test_degraded_copies_and_contrasts():
    tokenizer = tiny.tokenizer()
    made = degraded_examples([Supervised("the cat", (" sat down", " ran"), (" sat", " down"))], tokenizer)
    want = [("the cat", y) for y in (" sat down", " ran", " sat", " down")]
    assert sequences(made) == [[ids(tokenizer, *w) for w in want]]
    assert made.layout.slots["degraded"] == (2, 3)
    rows = [Supervised(f"the {i}", (f" {i}",), (f"teh {i}",)) for i in range(5)]
    couples = contrast_examples(rows, tokenizer, seed=3)
    assert len(couples.examples) == 2
    seen = []
    for one in sequences(couples):
        pair = [i for i in range(5) if ids(tokenizer, f"the {i}", f" {i}") in one]
        assert len(pair) == 2
        by_slot = {part: [one[s] for s in slots] for part, slots in couples.layout.slots.items()}
        order = [next(i for i in pair if ids(tokenizer, f"the {i}", f" {i}") == c) for c in by_slot["clean"]]
        assert by_slot["noisy"] == [ids(tokenizer, f"teh {i}", f" {i}") for i in order]
        seen += pair
    assert len(set(seen)) == 4


def test_long_examples_are_left_out_whole_and_counted():
    tokenizer = tiny.tokenizer()
    rows = [Supervised("the cat", (" sat", " ran"), ("a dog",)), Supervised("a", (" b", " c" * 40), ("d",))]
    made = other_prompt_examples(rows, tokenizer, Limits(response_tokens=20))
    assert (len(made.examples), made.dropped) == (1, 1)
    with pytest.raises(DataError, match="no example is left"):
        other_prompt_examples(rows, tokenizer, Limits(response_tokens=1))


def test_a_wrong_number_of_copies_or_rows():
    tokenizer = tiny.tokenizer()
    pair = (" x", " y")
    with pytest.raises(DataError, match=r"\[1, 2\]"):
        degraded_examples([Supervised("p", pair, ("a",)), Supervised("p", pair, ("a", "b"))], tokenizer)
    with pytest.raises(DataError, match="two rows"):
        contrast_examples([Supervised("p", (" x",), ("q",))], tokenizer)


def test_filling_a_template_takes_texts_as_they_are():
    assert (
        fill("{prompt}: {draft} {}", "what is {draft}?", draft="{prompt}") == "what is {draft}?: {prompt} {}"
    )
    chat = Chat((Message("user", "hello"),))
    assert fill("{prompt}!", chat) == Chat((Message("user", "hello!"),))


def test_thumbs_are_read_from_unpaired_rows(tmp_path):
    rows = [
        {"prompt": "p", "completion": "x", "label": True},
        {"prompt": "p", "completion": "y", "label": False},
        {"prompt": "q", "completion": "z", "label": True, "objective": "brief"},
    ]
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", *rows)])
    responses, labels = unpaired_labels(data, "preference")
    assert [data.responses[r] for r in responses] == ["x", "y"]
    assert labels.tolist() == [True, False]
    assert unpaired_labels(data, "brief")[1].tolist() == [True]
    with pytest.raises(ObjectiveError, match="nothing"):
        unpaired_labels(data, "nothing")


def test_thumbs_become_examples(tmp_path):
    """The over-long response is left out; the other two are each beside the other's text."""
    tokenizer = tiny.tokenizer()
    rows = [
        {"prompt": "the cat", "completion": " sat", "label": True},
        {"prompt": "the cat", "completion": " ran" * 30, "label": True},
        {"prompt": "a dog", "completion": " ran", "label": False},
    ]
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", *rows)])
    made = thumb_examples(
        data, "preference", tokenizer, Limits(response_tokens=20, long_response="drop"), seed=1
    )
    assert made.dropped == 1
    assert made.columns["label"].tolist() == [1.0, 0.0]
    got = [
        (made.table.prompts[made.table.prompt_of[r]].tolist(), made.table.responses[int(r)].tolist())
        for row in made.examples
        for r in row
    ]
    want = [("the cat", " sat"), ("the cat", " ran"), ("a dog", " ran"), ("a dog", " sat")]
    assert got == [ids(tokenizer, *w) for w in want]


def test_scores_are_no_thumbs(tmp_path):
    rows = [{"prompt": "p", "responses": ["x", "y"], "scores": [{"helpful": 0.3}, {"helpful": 1.0}]}]
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", *rows)])
    assert isinstance(data, Preferences)
    with pytest.raises(DataError, match=r"0\.3"):
        unpaired_labels(data, "helpful")
    pairs, _ = read_preferences([write(tmp_path / "pairs.jsonl", PAIR)])
    with pytest.raises(DataError, match="true or false"):
        unpaired_labels(pairs, "preference")
    assert np.isfinite(pairs.labels).all()
