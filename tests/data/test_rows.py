"""Rows of every shape, mixed in one file, mean what contracts say; wrong ones are named."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto.data.preferences import Band
from pareto.data.rows import ReadRule, read_preferences
from pareto.data.texts import Chat, Message, plain
from pareto.errors import DataError, ObjectiveError


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def opinions(data):
    """{(prompt, winner, loser, objective)} with ties as a frozenset of both, straight from the columns."""
    said = []
    for a, b, labels in zip(data.a, data.b, data.labels):
        prompt = plain(data.prompts[data.prompt_of[a]])
        x, y = plain(data.responses[a]), plain(data.responses[b])
        for name, label in zip(data.objectives.names, labels):
            if label == 0:
                said.append((prompt, frozenset((x, y)), name))
            elif not math.isnan(label):
                said.append((prompt, *((x, y) if label > 0 else (y, x)), name))
    return said


MIXED = [
    {"prompt": "p", "chosen": "x", "rejected": "y", "objective": "helpful"},
    {"prompt": "p", "chosen": "y", "rejected": "x", "objective": "brief"},
    {
        "prompt": "q",
        "response_a": "u",
        "response_b": "v",
        "preferences": {"helpful": -1, "brief": 0, "kind": None},
    },
    {
        "prompt": "r",
        "responses": ["1", "22", "333"],
        "scores": [{"helpful": 1}, {"helpful": 3.5}, {"brief": 2}],
    },
    {"prompt": "s", "chosen": "c", "rejected": "d"},
    {"chosen": "tell me a tale", "rejected": "tell me a lie"},
    {"prompt": "t", "completion": "good", "label": True},
    {"prompt": "t", "completion": "bad", "label": False},
    {"prompt": "z", "completions": ["1+1", "=3"], "labels": [True, False]},
]


def test_all_shapes_in_one_file(tmp_path):
    data, counts = read_preferences([write(tmp_path / "rows.jsonl", MIXED)])
    assert sorted(opinions(data), key=str) == sorted(
        [
            ("p", "x", "y", "helpful"),
            ("p", "y", "x", "brief"),
            ("q", "v", "u", "helpful"),
            ("q", frozenset("uv"), "brief"),
            ("r", "22", "1", "helpful"),
            ("s", "c", "d", "preference"),
            ("tell me a", " tale", " lie", "preference"),
            ("t", "good", "bad", "preference"),
        ],
        key=str,
    )
    assert data.objectives.names == ("helpful", "brief", "kind", "preference")
    assert len(data) == 6  # the two rows about x and y are one pair
    assert counts.rows == 9
    assert counts.shapes == {
        "pair": 3, "one pair, many labels": 1, "scored responses": 1, "implicit prompt": 1, "unpaired": 2, "stepwise": 1,
    }  # fmt: skip
    assert data.stepwise[0].labels == (1.0, 0.0)
    assert len(data.rated) == 5


def test_a_missing_label_is_never_a_tie(tmp_path):
    rows = [
        {"prompt": "q", "response_a": "u", "response_b": "v", "preferences": {"brief": None, "helpful": 0}}
    ]
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", rows)])
    np.testing.assert_array_equal(data.labels, [[np.nan, 0.0]])


def chat(*turns):
    return [{"role": r, "content": c} for r, c in turns]


@pytest.mark.parametrize(
    "row",
    [
        {
            "prompt": chat(("user", "hi")),
            "chosen": chat(("assistant", "yes")),
            "rejected": chat(("assistant", "no")),
        },
        {
            "chosen": chat(("user", "hi"), ("assistant", "yes")),
            "rejected": chat(("user", "hi"), ("assistant", "no")),
        },
        {
            "prompt": "hi",
            "chosen": chat(("user", "hi"), ("assistant", "yes")),
            "rejected": chat(("user", "hi"), ("assistant", "no")),
        },
    ],
    ids=["explicit prompt", "implicit prompt", "prompt text with whole conversations"],
)
def test_chat_rows(tmp_path, row):
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", [row])])
    assert data.prompts == [Chat((Message("user", "hi"),))]
    assert data.responses == [Chat((Message("assistant", "yes"),)), Chat((Message("assistant", "no"),))]


def test_tool_calls_and_tools_are_kept(tmp_path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "clock"}]}
    row = {
        "prompt": chat(("user", "time?")),
        "chosen": [call],
        "rejected": chat(("assistant", "no")),
        "tools": [{"name": "clock"}],
    }
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", [row])])
    assert json.loads(data.prompts[0].tools) == [{"name": "clock"}]
    assert data.responses[0].messages[0].to_json() == {**call, "content": ""}


def test_the_implicit_prompt_of_a_dialogue_ends_at_its_last_shared_turn(tmp_path):
    start = "\n\nHuman: a pen?\n\nAssistant: Yes.\n\nHuman: which?\n\nAssistant:"
    row = {"chosen": start + " I like blue.", "rejected": start + " I like none."}
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", [row])])
    assert (data.prompts, data.responses) == ([start], [" I like blue.", " I like none."])


def test_optional_columns(tmp_path):
    rows = [
        {"prompt": "p", "chosen": "x", "rejected": "y", "weight": 2, "user": 7, "group": "night", "id": 1},
        {"prompt": "p", "chosen": "x", "rejected": "y", "weight": 2, "user": "8", "margin": 0.5, "id": 1},
        {"prompt": "p", "chosen": "y", "rejected": "x"},
    ]
    data, counts = read_preferences([write(tmp_path / "rows.jsonl", rows)])
    np.testing.assert_array_equal(data.weight, np.float32([2, 2, 1]))
    np.testing.assert_array_equal(data.margin, np.float32([0, 0.5, 0]))
    np.testing.assert_array_equal(data.user, [0, 1, -1])
    np.testing.assert_array_equal(data.group, [0, -1, -1])
    assert (data.users, data.groups, counts.doubled_ids) == (("7", "8"), ("night",), 1)


def test_a_second_opinion_is_a_pair_of_its_own(tmp_path):
    row = {"prompt": "p", "chosen": "x", "rejected": "y"}
    turned = {"prompt": "p", "chosen": "y", "rejected": "x"}
    data, counts = read_preferences([write(tmp_path / "rows.jsonl", [row, row, turned])])
    assert opinions(data) == [("p", "x", "y", "preference")] * 2 + [("p", "y", "x", "preference")]
    assert (counts.repeated, counts.contradicted) == (1, 1)


def test_columns_may_have_other_names(tmp_path):
    rows = [{"question": "p", "chosen": "x", "rejected": "y"}]
    data, _ = read_preferences([write(tmp_path / "r.jsonl", rows)], ReadRule(columns={"prompt": "question"}))
    assert data.prompts == ["p"]


def test_only_the_wanted_objectives_are_kept(tmp_path):
    path = write(tmp_path / "rows.jsonl", MIXED)
    data, _ = read_preferences([path], ReadRule(objectives=("brief", "helpful")))
    assert data.objectives.names == ("brief", "helpful")
    with pytest.raises(ObjectiveError, match=r"'brif' is nowhere in the data .did you mean 'brief'"):
        read_preferences([path], ReadRule(objectives=("brif",)))


PAIR = {"prompt": "p", "chosen": "x", "rejected": "y"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "chosen": "x"}, "fit no row shape"),
        ({**PAIR, "prompt": 3}, "'prompt' must be a string or a list of chat messages; got int '3'"),
        ({**PAIR, "chosen": ""}, "a response is empty"),
        ({**PAIR, "chosen": []}, "empty list of messages"),
        ({**PAIR, "rejected": "x"}, "both responses are the same text"),
        ({**PAIR, "weight": -1}, "'weight' must be >= 0"),
        ({**PAIR, "weight": "2"}, "'weight' must be a number or null; got str"),
        ({**PAIR, "user": True}, "'user' must be a string or a whole number"),
        ({**PAIR, "objective": "a,b"}, "without commas"),
        ({**PAIR, "chosen": "\ud800"}, "half a surrogate pair"),
        ({**PAIR, "chosen": chat(("assistant", "x"))}, "all strings or all chat messages"),
        ({**PAIR, "chosen": [{"content": "x"}]}, r"chosen\[0\] must be an object with 'role'"),
        ({"chosen": "abc", "rejected": "xyz"}, "share no start"),
        ({"chosen": "p a", "rejected": chat(("user", "p"))}, "both strings or both chat messages"),
        ({"prompt": "p", "responses": ["a"], "scores": [{}, {}]}, "1 entries and 'scores' 2"),
        ({"prompt": "p", "responses": ["a"], "scores": [{"h": "5"}]}, r"'scores\[0\].h' must be a number"),
        ({"prompt": "p", "responses": ["a"], "scores": [5]}, "must map objectives to numbers"),
        ({"prompt": "p", "responses": ["a"], "scores": [{"h": 10**400}]}, "must be finite"),
        ({"prompt": "p", "responses": ["a"], "scores": [{"h": 1e39}]}, r"at most 1e\+38 in size"),
        ({"prompt": "p", "responses": ["a"], "scores": [{"h": -1e300}]}, r"at most 1e\+38 in size"),
        ({**PAIR, "weight": 1e300}, r"'weight' must be at most 1e\+38"),
        (
            {"prompt": "p", "response_a": "a", "response_b": "b", "preferences": {"h": 2}},
            "must be 1 .a., -1 .b.",
        ),
        (
            {"prompt": "p", "response_a": "a", "response_b": "b", "preferences": {"h": True}},
            "a number or null",
        ),
        ({"prompt": "p", "completion": "a", "label": "yes"}, "'label' must be true or false"),
        ({"prompt": "p", "completions": ["a"], "labels": []}, "'labels' must be a list with something in it"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, reason):
    path = write(tmp_path / "rows.jsonl", [PAIR, row, {**PAIR, "prompt": "other"}])
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{reason}"):
        read_preferences([path])
    data, counts = read_preferences([path], ReadRule(on_bad="skip", max_bad=0.5))
    assert (len(data), counts.rows, counts.bad) == (2, 3, 1)
    with pytest.raises(DataError, match="1 of 3 rows are bad"):
        read_preferences([path], ReadRule(on_bad="skip", max_bad=0.1))


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="at least one data file"):
        read_preferences([])
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_preferences([path])


def test_too_many_objective_names_mean_a_broken_column(tmp_path):
    rows = [{**PAIR, "prompt": str(i), "objective": f"o{i}"} for i in range(65)]
    with pytest.raises(DataError, match=r":65: more than 64 objectives"):
        read_preferences([write(tmp_path / "rows.jsonl", rows)])


scores = st.dictionaries(st.sampled_from(["h", "b"]), st.none() | st.integers(-3, 3).map(float), max_size=2)
groups = st.lists(st.tuples(st.text("xyz", min_size=1, max_size=2), scores), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(prompts=st.lists(groups, min_size=1, max_size=3), width=st.sampled_from([0.0, 1.0]))
def test_scored_responses_are_paired_as_brute_force_pairs_them(tmp_path_factory, prompts, width):
    rows = [
        {"prompt": str(i), "responses": [t for t, _ in group], "scores": [s for _, s in group]}
        for i, group in enumerate(prompts)
    ]
    expected = []
    for i, group in enumerate(prompts):
        for (x, sx), (y, sy) in itertools.combinations(group, 2):
            for name in ("h", "b"):
                u, v = sx.get(name), sy.get(name)
                if x == y or u is None or v is None:
                    continue
                if abs(u - v) <= width:
                    expected.append((str(i), frozenset((x, y)), name))
                else:
                    expected.append((str(i), *((x, y) if u > v else (y, x)), name))
    path = write(tmp_path_factory.getbasetemp() / "scored.jsonl", rows)
    data, _ = read_preferences([path], ReadRule(bands={"h": Band(width), "b": Band(width)}))
    assert sorted(opinions(data), key=str) == sorted(expected, key=str)


def test_at_most_so_many_pairs_of_a_prompt_and_the_same_ones_whatever_else_is_read(tmp_path):
    def row(prompt):
        return {
            "prompt": prompt,
            "responses": [str(i) for i in range(8)],
            "scores": [{"h": i} for i in range(8)],
        }

    rule = ReadRule(pairs_per_prompt=5)
    alone, _ = read_preferences([write(tmp_path / "a.jsonl", [row("p")])], rule)
    beside, _ = read_preferences([write(tmp_path / "b.jsonl", [row("o"), row("p")])], rule)
    assert len(alone) == 5
    assert opinions(alone) == [o for o in opinions(beside) if o[0] == "p"]


def test_users_scores_are_not_compared_with_each_other(tmp_path):
    rows = [
        {"prompt": "p", "responses": [text], "scores": [{"h": h}], "user": user}
        for text, h, user in [("a", 1, "u"), ("b", 2, "u"), ("c", 3, "v")]
    ]
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", rows)])
    assert opinions(data) == [("p", "b", "a", "h")]


def test_band_is_absolute_or_a_share_of_the_larger():
    a, b = np.array([10.0, 10.0, 10.0, np.nan, -10.0]), np.array([8.5, 9.5, 12.0, 1.0, -8.5])
    np.testing.assert_array_equal(Band(0.0, 0.1).labels(a, b), np.float32([1, 0, -1, np.nan, -1]))
    np.testing.assert_array_equal(Band(1.5, 0.0).labels(a, b), np.float32([0, 0, -1, np.nan, 0]))


def test_an_objective_made_from_scores_and_a_part_of_the_prompts(tmp_path):
    data, _ = read_preferences([write(tmp_path / "rows.jsonl", MIXED)])
    shorter = data.with_objective("short", -np.array([len(plain(r)) for r in data.responses], float), Band())
    part = shorter.select(["short", "x"], {"x": "helpful"}).of_prompts(
        np.array([p == "t" for p in data.prompts])
    )
    assert opinions(part) == [("t", "bad", "good", "short")]
    assert part.objectives.names == ("short", "x")
    assert (part.prompts, list(part.prompt_of), list(part.rated)) == (["t"], [0, 0], [0, 1])
    with pytest.raises(ObjectiveError, match="no pair has a winner under objective 'x'"):
        part.require_labels()


def test_what_does_not_print_is_written_out(tmp_path):
    """A column's name can move a terminal's cursor; in a message it cannot."""
    path = write(tmp_path / "rows.jsonl", [{"prompt": "p", "\x1b[2J\u2028": "x"}])
    with pytest.raises(DataError, match=r"columns \(\\x1b\[2J\\u2028, prompt\) fit no row shape") as caught:
        read_preferences([path])
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match="control characters"):
        read_preferences([write(path, [{**PAIR, "objective": "a\x1b[2J"}])])
