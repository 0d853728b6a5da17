"""`pareto data check` counts what is there and names what is wrong."""

from __future__ import annotations

import json

import pytest

from tests.models import tiny

ROWS = [
    {
        "prompt": "p",
        "response_a": "longer reply",
        "response_b": "short",
        "preferences": {"good": 1, "brief": -1},
    },
    {
        "prompt": "q",
        "response_a": "longer reply",
        "response_b": "short",
        "preferences": {"good": 1, "brief": None},
    },
    {
        "prompt": "r",
        "response_a": "tiny",
        "response_b": "very much longer",
        "preferences": {"good": 0, "brief": 1},
    },
    {
        "prompt": "s",
        "response_a": "tiny",
        "response_b": "very much longer",
        "preferences": {"good": -1, "brief": 1},
    },
]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return path


def test_the_numbers_are_counted_by_hand(pareto, rows):
    code, out, _ = pareto("data", "check", rows)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "rows 4 (4 one pair, many labels)" in lines
    assert "good 3 1 0 100.0% 0 of 0" in lines
    assert "brief 3 0 1 0.0% 0 of 0" in lines
    assert any(line.startswith("good / brief 2 100.0%") for line in lines)


def test_json_says_the_same(pareto, rows):
    code, out, _ = pareto("data", "check", rows, "--json", "--objectives", "brief")
    report = json.loads(out)
    assert code == 0
    assert [o["name"] for o in report["objectives"]] == ["brief"]
    assert (report["pairs"], report["read"]["rows"], report["gradients"]) == (4, 4, None)


def test_a_bad_row_is_named_or_left_out(pareto, rows):
    with rows.open("a") as file:
        file.write('{"prompt": "half\n')
    code, out, err = pareto("data", "check", rows)
    assert (code, out) == (2, "")
    assert f"{rows}:5: not JSON" in err
    assert err.count("\n") == 1
    code, out, _ = pareto("data", "check", rows, "--on-bad", "skip", "--max-bad", "20%")
    assert code == 0
    assert "1 bad rows left out" in out
    assert f"{rows}:5: not JSON" in out
    assert pareto("data", "check", rows, "--on-bad", "skip")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--objectives", "goood"], "did you mean 'good'"),
        (["--column", "prompt"], "expected --column OURS=THEIRS"),
        (["--source", "elsewhere"], "unknown source"),
        (["--model", "/no/such/model"], "no model folder"),
    ],
)
def test_wrong_arguments(pareto, rows, arguments, reason):
    code, out, err = pareto("data", "check", rows, *arguments)
    assert (code, out) == (2, "")
    assert reason in err


def test_other_column_names_and_files(pareto, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,chosen,rejected\nq,yes,no\n")
    code, out, _ = pareto("data", "check", path, "--column", "prompt=question")
    assert code == 0
    assert "rows        1 (1 pair)" in out
    assert pareto("data", "check", tmp_path / "none.csv")[0] == 2
    assert pareto("data")[0] == 2


def test_with_a_model_the_gradients_are_compared(pareto, rows, tmp_path):
    tiny.llama().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    code, out, _ = pareto("data", "check", rows, "--json", "--model", tmp_path / "model")
    cosine = json.loads(out)["gradients"]["cosine"]
    assert code == 0
    assert (
        cosine["good"]["brief"] == cosine["brief"]["good"] < 0
    )  # brevity and goodness pull apart on these rows
    code, out, _ = pareto("data", "check", rows, "--model", tmp_path / "model")
    assert "gradient cosine" in out
