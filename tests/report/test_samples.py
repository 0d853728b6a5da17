from dataclasses import replace

from pareto.objectives import Objectives
from pareto.report.samples import CHARACTERS, along_the_front, sample_rows
from tests.report.test_steering import row

TWO = Objectives(["a", "b"])


def test_from_one_end_of_the_front_to_the_other() -> None:
    rows = [row(str(i), None, [float(i), 10.0 - i]) for i in range(9)] + [row("bad", None, [0.0, 0.0])]
    assert [p.label for p in along_the_front(TWO, rows, 3)] == ["8", "4", "0"]
    assert [p.label for p in along_the_front(TWO, rows[:2], 5)] == ["1", "0"]
    assert along_the_front(TWO, [], 5) == []


def test_the_first_seed_alone_even_where_another_dominates_it() -> None:
    rows = [row("1", None, [1.0, 2.0]), replace(row("2", None, [5.0, 5.0]), seed=1)]
    assert [p.label for p in along_the_front(TWO, rows, 5)] == ["1"]


def test_more_objectives_the_best_of_each_then_the_balanced_one() -> None:
    three = Objectives(["a", "b", "c"])
    values = [[0.0, 0.0, 9.0], [9.0, 0.0, 0.0], [4.0, 4.0, 4.0], [0.0, 9.0, 0.0]]
    rows = [row(str(i), None, v) for i, v in enumerate(values)]
    assert [p.label for p in along_the_front(three, rows, 5)] == ["1", "3", "0", "2"]


def test_the_same_prompts_and_only_the_first_reply() -> None:
    rows = [row("1", None, [1.0, 2.0]), row("2", None, [2.0, 1.0])]
    samples = {
        "p1": [
            {"prompt": "x", "response": "one"},
            {"prompt": "x", "response": "again"},
            {"prompt": "y", "response": "lone"},
        ],
        "p2": [
            {"prompt": "z", "response": "other"},
            {"prompt": "x", "response": "two", "rewards": {"a": 1.5}},
        ],
    }
    made = sample_rows(rows, samples)
    assert made[0].prompt == "x"
    assert [(r.policy, r.text) for r in made[0].replies] == [("1", "one"), ("2", "two")]
    assert [r.rewards for r in made[0].replies] == [None, {"a": 1.5}]
    assert {m.prompt for m in made[1:]} == {"y", "z"}


def test_chats_trajectories_and_long_texts() -> None:
    rows = [row("1", None, [1.0, 2.0])]
    chat = {"prompt": [{"role": "user", "content": "hello"}], "response": "x" * 5000}
    episode = {"unit_id": "seed-3", "actions": [0, 1], "return": [1.0, None]}
    made = {s.prompt: s.replies[0].text for s in sample_rows(rows, {"p1": [chat, episode]})}
    assert len(made["hello"]) == CHARACTERS
    assert made["hello"].endswith("…")
    assert made["seed-3"] == '{"actions": [0, 1], "return": [1.0, null]}'
