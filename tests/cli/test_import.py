"""A table made elsewhere becomes a run folder that loads, verifies and says what was set aside."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas
import pytest

import pareto as package

OBJECTIVES = "reward:max,energy:min"
TABLE = pandas.DataFrame(
    {"reward": [3.0, 2.0, 1.0, 0.5], "energy": [9.0, 4.0, 1.0, 5.0], "note": ["w", "x", "y", "z"]}
)


def _write(table, path):
    writers = {
        ".csv": lambda: table.to_csv(path, index=False),
        ".tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        ".json": lambda: table.to_json(path, orient="records"),
        ".jsonl": lambda: table.to_json(path, orient="records", lines=True),
        ".parquet": lambda: table.to_parquet(path),
        ".npz": lambda: np.savez(path, reward=table["reward"].to_numpy(), energy=table["energy"].to_numpy()),
    }
    writers[path.suffix]()
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".npz"])
def test_every_format_gives_the_same_run(pareto, tmp_path, suffix):
    file = _write(TABLE, tmp_path / f"points{suffix}")
    code, out, err = pareto("import", file, "--objectives", OBJECTIVES, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "4 points, 3 of them not dominated" in out
    run = package.load(tmp_path / "run")
    np.testing.assert_array_equal(run.values, TABLE[["reward", "energy"]])
    assert [o.direction for o in run.objectives] == ["max", "min"]
    assert [r.id for r in run.front()] == ["p0000", "p0001", "p0002"]
    # corners (3, 9) and (1, 1), not the worse (0.5, 5): nadir (1, 9), ranges 2 and 8, a tenth of them off
    np.testing.assert_allclose(run.ref_point, [0.8, 9.8])
    # gains (2.2, 0.8), (1.2, 5.8), (0.2, 8.8): 2.2 * 0.8 + 1.2 * 5 + 0.2 * 3
    assert run.indicators["hypervolume"] == pytest.approx(8.36)
    assert run.content["study"] == "points"
    assert pareto("verify", tmp_path / "run")[0] == 0


def test_values_in_one_array(pareto, tmp_path):
    np.savez(tmp_path / "p.npz", values=TABLE[["reward", "energy"]].to_numpy())
    assert pareto("import", tmp_path / "p.npz", "--objectives", OBJECTIVES, "--out", tmp_path / "run")[0] == 0
    np.testing.assert_array_equal(package.load(tmp_path / "run").values, TABLE[["reward", "energy"]])


def test_ids_seeds_and_weights_are_kept(pareto, tmp_path):
    file = tmp_path / "p.csv"
    file.write_text(
        "id,seed,weight_reward,weight_energy,energy,reward\nlow,1,1,0,9,3\nhigh,2,0.25,0.75,4,2\nfree,3,,,1,1\n"
    )
    code, *_ = pareto("import", file, "--objectives", OBJECTIVES, "--out", tmp_path / "run", "--ref-point", "energy=10,reward=0", "--study", "theirs", "--method", "nsga2")  # fmt: skip
    assert code == 0
    run = package.load(tmp_path / "run")
    assert [(r.id, r.seed) for r in run] == [("low", 1), ("high", 2), ("free", 3)]
    np.testing.assert_array_equal(run.weights, [[1, 0], [0.25, 0.75], [np.nan, np.nan]])
    np.testing.assert_array_equal(run.ref_point, [0, 10])
    assert (run.content["study"], run.content["method"], run.content["ref_point_rule"]) == (
        "theirs",
        "nsga2",
        "given",
    )


def test_a_table_written_from_a_run_comes_back(pareto, write_run, tmp_path):
    ours = package.load(write_run())
    ours.to_frame().to_csv(tmp_path / "ours.csv", index=False)
    code, *_ = pareto("import", tmp_path / "ours.csv", "--objectives", "helpful:max,tokens:min", "--out", tmp_path / "back")  # fmt: skip
    assert code == 0
    back = package.load(tmp_path / "back")
    np.testing.assert_array_equal(back.values, ours.values)
    np.testing.assert_array_equal(back.weights, ours.weights)
    assert [r.id for r in back] == [r.id for r in ours]


def test_negative_weights_are_directions(pareto, tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("weight_a,weight_b,a,b\n0.6,-0.8,1,2\n0.6,0.8,2,1\n")
    assert pareto("import", file, "--objectives", "a,b", "--out", tmp_path / "run")[0] == 0
    assert package.load(tmp_path / "run").weights_kind == "direction"


def test_rows_that_are_not_finite_are_set_aside_and_named(pareto, tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("id,a,b\nx,1,2\ny,nan,1\nz,2,inf\nv,,1\nw,2,1\n")
    code, out, _ = pareto("import", file, "--objectives", "a,b", "--out", tmp_path / "run")
    assert code == 0
    assert "set aside: y (nan in a)\nset aside: z (inf in b)\nset aside: v (nan in a)\n" in out
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert [q["id"] for q in front["quarantined"]] == ["y", "z", "v"]
    assert [p["id"] for p in front["policies"]] == ["x", "w"]
    assert front["indicators"]["cardinality"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reward,enrgy\n1,2\n", r"expected a column 'energy' (did you mean 'enrgy'?); it has reward, enrgy"),
        ("reward,energy\n1,2\n2,high\n", r"p.csv:3: energy: expected a number; got 'high'"),
        ("reward,energy\n", "p.csv"),
        ("", "p.csv"),
        ("reward,energy\nnan,1\n", "at least one row with finite reward, energy; got none"),
        ("id,reward,energy\n../x,1,2\n", "p.csv:2: expected an id of letters"),
        ("id,reward,energy\nx,1,2\nx,2,1\n", "p.csv:2: ids must be unique; 'x' comes 2 times"),
        ("seed,reward,energy\n1.5,1,2\n", "p.csv:2: seed: expected a whole number; got 1.5"),
        ("weight_reward,weight_energy,reward,energy\n.5,.6,1,2\n", "p.csv:2: weight_reward, weight_energy: weights must sum to 1"),
        ("weight_reward,weight_energy,reward,energy\n.5,,1,2\n", "p.csv:2: weight_reward, weight_energy: weights must be finite"),
    ],
)  # fmt: skip
def test_a_broken_table_leaves_nothing_behind(pareto, tmp_path, text, message):
    file = tmp_path / "p.csv"
    file.write_text(text)
    code, out, err = pareto("import", file, "--objectives", OBJECTIVES, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert message in err
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"values": np.zeros((3, 3))}, "expected 'values' of shape [n, 2] (reward, energy); got [3, 3]"),
        ({"reward": np.zeros(3), "energy": np.zeros(2)}, "expected columns of one length"),
        ({"reward": np.array([{}], dtype=object)}, "without pickled objects"),
    ],
)
def test_a_broken_npz(pareto, tmp_path, arrays, message):
    np.savez(tmp_path / "p.npz", **arrays)
    code, _, err = pareto("import", tmp_path / "p.npz", "--objectives", OBJECTIVES, "--out", tmp_path / "run")
    assert code == 2
    assert message in err


def test_a_folder_that_holds_something_is_left_alone(pareto, tmp_path):
    file = _write(TABLE, tmp_path / "p.csv")
    (tmp_path / "run").mkdir()
    assert pareto("import", file, "--objectives", OBJECTIVES, "--out", tmp_path / "run")[0] == 0
    code, _, err = pareto("import", file, "--objectives", OBJECTIVES, "--out", tmp_path / "run")
    assert code == 2
    assert "--out must be a new or an empty folder" in err
    assert (
        pareto("import", tmp_path / "absent.csv", "--objectives", OBJECTIVES, "--out", tmp_path / "r")[0] == 2
    )


def test_costs_intervals_and_kl_are_kept(pareto, tmp_path):
    file = tmp_path / "p.csv"
    file.write_text(
        "reward,energy,kl_nats,ci95_low_reward,ci95_high_reward\n3,9,1.5,2.5,3.5\n2,4,,1.5,\n1,1,0,0.5,1.5\n"
    )
    arguments = [
        "import",
        file,
        "--objectives",
        OBJECTIVES,
        "--out",
        tmp_path / "run",
        "--cost",
        "train_tokens=1e6",
    ]
    assert pareto(*arguments)[0] == 0
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert [p["kl_nats"] for p in front["policies"]] == [1.5, None, 0.0]
    assert [p["ci95"]["reward"] for p in front["policies"]] == [[2.5, 3.5], None, [0.5, 1.5]]
    assert [p["ci95"]["energy"] for p in front["policies"]] == [None, None, None]
    assert front["cost"]["train_tokens"] == 1_000_000
    assert pareto("verify", tmp_path / "run")[0] == 0


@pytest.mark.parametrize(
    ("table", "cost", "message"),
    [
        ("reward,energy,kl_nats\n3,9,-1\n", "train_tokens=1", r"p\.csv:2: kl_nats: expected a number >= 0"),
        ("reward,energy\n3,9\n", "train_token=1", "did you mean 'train_tokens'"),
        ("reward,energy\n3,9\n", "env_steps=-5", "expected env_steps >= 0"),
    ],
)
def test_costs_and_kl_that_cannot_be(pareto, tmp_path, table, cost, message):
    (tmp_path / "p.csv").write_text(table)
    code, _, err = pareto(
        "import", tmp_path / "p.csv", "--objectives", OBJECTIVES, "--out", tmp_path / "run", "--cost", cost
    )
    assert code == 2
    assert re.search(message, err)
    assert not (tmp_path / "run").exists()
