"""`pareto verify` finds what was changed and what does not follow from the values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pareto.state import manifest
from pareto.study.scores import scores_bytes
from pareto.tasks.protocol import Scores

# By hand, see tests/test_policy_set.py: gains over the reference point are a (3, 1), b (2, 6), c (1.5, 4), d (0.5, 9),
# their volume is 14.5. What is lost without a: (3 - 2) * 1; without d: 0.5 * (9 - 6); without b: (2 - 0.5) * (6 - 1) less
# the (1.5 - 0.5) * (4 - 1) that c then covers; without c, which b dominates: nothing.
TRUE = {"a": (True, 1.0), "b": (True, 4.5), "c": (False, 0.0), "d": (True, 1.5)}


def consistent(front):
    front["indicators"] = {"hypervolume": 14.5, "cardinality": 3, "outside_ref_point": 0}
    for row in front["policies"]:
        row["non_dominated"], row["hypervolume_contribution"] = TRUE[row["id"]]


def test_a_whole_run_folder_passes(pareto, write_run):
    code, out, _ = pareto("verify", write_run(consistent))
    assert code == 0
    assert "whole and consistent (4 policies, 3 indicators)" in out


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f["indicators"].update(hypervolume=14.6), "hypervolume is stated as 14.6; the values give 14.5"),
        (lambda f: f["indicators"].update(hypervolume=14.5 * (1 + 1e-8)), "hypervolume is stated as"),
        (lambda f: f["indicators"].update(cardinality=None), "cardinality is stated as None; the values give 3.0"),
        (lambda f: f["indicators"].update(outside_ref_point=1), "outside_ref_point is stated as 1"),
        (lambda f: f["policies"][2].update(non_dominated=True), "non_dominated of c is stated as True; the values give False"),
        (lambda f: f["policies"][1].update(hypervolume_contribution=7.0), "hypervolume_contribution of b is stated as 7.0"),
        (lambda f: f["policies"][0]["values"].update(helpful=2.9), "hypervolume_contribution of a is stated as 1.0"),
        (lambda f: f.update(format=3), "expected format 1; got 3"),
    ],
)  # fmt: skip
def test_what_the_values_do_not_bear_out_is_named(pareto, write_run, edit, message):
    def both(front):
        consistent(front)
        edit(front)

    code, out, err = pareto("verify", write_run(both))
    assert (code, out) == (2, "")
    assert message in err


def test_every_problem_has_its_line(pareto, write_run):
    folder = write_run(consistent)
    (folder / "policies" / "a" / "policy.json").write_text("{}")
    (folder / "policies" / "b" / "policy.json").unlink()
    (folder / "stray.txt").write_text("x")
    front = json.loads((folder / "front.json").read_text())
    front["indicators"]["hypervolume"] = 99
    (folder / "front.json").write_text(json.dumps(front))
    code, _, err = pareto("verify", folder)
    assert code == 2
    lines = err.splitlines()
    assert lines[0].startswith("pareto verify: 5 problems in")
    assert len(lines) == 6
    for part in ("a/policy.json does not", "b/policy.json is missing", "stray.txt is not", "front.json does not", "hypervolume is stated as 99"):  # fmt: skip
        assert sum(part in line for line in lines) == 1


def test_values_follow_from_the_score_files(pareto, write_run):
    folder = write_run(consistent, manifest=False)
    units = {
        "heldout": [[2.5, 8.0], [3.5, 10.0]],
        "selection": [[0.0, 0.0]],
    }  # mean of the first: (3, 9), as stated of a
    (folder / "scores").mkdir()
    for name, shift in (("a", 0.0), ("b", 1.5)):  # b is stated as (2, 4)
        scores = {
            split: Scores(
                np.array(rows) - [shift, 5.0 if shift else 0.0], np.arange(len(rows)).astype(str), split
            )
            for split, rows in units.items()
        }
        (folder / "scores" / f"{name}.npz").write_bytes(scores_bytes(scores))
    manifest.write(folder)
    code, _, err = pareto("verify", folder)
    assert code == 2
    assert err.splitlines()[1:] == [
        f"{folder}/front.json: helpful of b is stated as 2.0; the values give 1.5"
    ]


def test_selection_values_are_measured_too(pareto, write_run):
    def edit(front):
        consistent(front)
        for row in front["policies"]:
            row["selection"] = {"values": {"helpful": 1.0, "tokens": 8.0}, "n": 4}  # gain (1, 2): volume 2
        front["indicators"]["hypervolume_selection"] = 2.0

    assert pareto("verify", write_run(edit))[0] == 0
    code, _, err = pareto(
        "verify", write_run(lambda f: (edit(f), f["indicators"].update(hypervolume_selection=2.1)))
    )
    assert code == 2
    assert "hypervolume_selection is stated as 2.1; the values give 2.0" in err


def test_an_unfinished_folder_is_a_problem(pareto, write_run, tmp_path):
    folder = write_run(consistent, manifest=False)
    code, _, err = pareto("verify", folder)
    assert code == 2
    assert f"{manifest.NAME} is missing: the folder is not complete" in err
    assert pareto("verify", tmp_path / "absent")[0] == 2
