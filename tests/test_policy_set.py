"""A run folder is read as it was written, and nothing that was changed, broken or unsafe is read at all."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import pareto
from pareto.errors import ArtifactError, ObjectiveError, SimplexError, UsageError
from pareto.front.gate import OutsideReferenceWarning
from pareto.policy_set import STEERERS, PolicySet, load
from pareto.state import manifest


def test_a_run_folder_is_read(write_run):
    run = load(write_run())
    assert isinstance(run, PolicySet)
    assert isinstance(pareto.load(run.folder), pareto.PolicySet)
    assert (len(run), [r.id for r in run]) == (4, ["a", "b", "c", "d"])
    assert run.objectives.names == ("helpful", "tokens")
    np.testing.assert_array_equal(run.values, [[3, 9], [2, 4], [1.5, 6], [0.5, 1]])
    np.testing.assert_array_equal(run.weights, [[1, 0], [0.5, 0.5], [np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(run.ref_point, [0, 10])
    assert (run.weights_kind, run.indicators["cardinality"], run.exact) == ("simplex", 3, None)
    assert run["b"] is run[1]
    assert run[1].facts == {"n": 8}
    with pytest.raises(ValueError, match="read-only"):
        run.values[0, 0] = 7
    with pytest.raises(UsageError, match="holds no policy 'z'; it holds a, b, c, d"):
        run["z"]


def test_front_and_hypervolume_follow_from_the_values(write_run):
    run = load(write_run())
    assert [r.id for r in run.front()] == ["a", "b", "d"]
    # Oriented with the reference point (0, -10): gains (3, 1), (2, 6), (0.5, 9). Slabs of the second coordinate:
    # 1 x 3 (up to 1) + 5 x 2 (1 to 6) + 3 x 0.5 (6 to 9) = 14.5
    assert run.hypervolume() == pytest.approx(14.5)
    assert run.front().hypervolume({"tokens": 10.0, "helpful": 0.0}) == pytest.approx(14.5)
    with pytest.warns(OutsideReferenceWarning):
        assert run.hypervolume([0.0, 1.0]) == 0.0
    with pytest.raises(UsageError, match="fixed no reference point"):
        load(write_run(lambda f: f.update(ref_point=None))).hypervolume()


def test_a_table_for_pandas(write_run):
    frame = load(write_run()).to_frame()
    assert list(frame.columns) == [
        "id",
        "kind",
        "seed",
        "weight_helpful",
        "weight_tokens",
        "helpful",
        "tokens",
    ]
    assert frame.loc[1].tolist() == ["b", "fake", 0, 0.5, 0.5, 2.0, 4.0]


def test_an_empty_run_is_a_run(write_run):
    run = load(write_run(lambda f: f.update(policies=[])))
    assert (len(run), run.values.shape, run.weights.shape, len(run.front()), run.hypervolume()) == (0, (0, 2), (0, 2), 0, 0.0)  # fmt: skip


def _drop(key):
    return lambda front: front.pop(key)


def _first(**changes):
    return lambda front: front["policies"][0].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.update(format=2), r"expected format 1; got 2; it was written by another version"),
        (_drop("objectives"), r"front\.json: no 'objectives'; the file is broken"),
        (_drop("policies"), r"front\.json: no 'policies'"),
        (lambda f: f.update(policies=[3]), r"front\.json: "),
        (lambda f: f.update(policies=None), r"front\.json: "),
        (lambda f: f.update(objectives=[]), r"at least one objective"),
        (lambda f: f.update(ref_point=[1]), r"expected 2 numbers"),
        (lambda f: f["policies"][0].pop("values"), r"no 'values'"),
        (_first(values={"helpful": 1.0}), r"missing: tokens"),
        (_first(values={"helpful": 1.0, "tokens": 1.0, "x": 1}), r"unknown objective 'x'"),
        (_first(values={"helpful": None, "tokens": 1.0}), r"front\.json: "),
        (_first(values={"helpful": 1e400, "tokens": 1.0}), r"Infinity is not JSON"),
        (_first(id="b"), r"ids must be unique; doubled: b"),
        (_first(id="../a"), r"a policy id must match .* got '\.\./a'"),
        (_first(id="a/b"), r"a policy id must match"),
        (_first(kind="..os"), r"the kind of policy 'a' must be a plain name"),
        (_first(kind=["adapter"]), r"the kind of policy 'a' must be a plain name"),
        (_first(files=["x"]), r"front\.json: "),
        (_first(files={"x": None}), r"files of policy 'a' must map"),
        (_first(weights_kind="odd"), r"must be simplex or direction; got 'odd'"),
        (_first(weights_kind="direction"), r"all weights must be of one kind; got direction, simplex"),
    ],
)
def test_a_broken_front_is_refused(write_run, edit, message):
    folder = write_run(edit)
    with pytest.raises(ArtifactError, match=message):
        load(folder)


def test_numbers_too_large_for_a_float_are_refused(write_run):
    folder = write_run(manifest=False)
    text = (folder / "front.json").read_text().replace("3.0", "1e999", 1)
    (folder / "front.json").write_text(text)
    with pytest.raises(ArtifactError, match="must be finite"):
        load(folder)


def test_what_is_no_run_folder_says_so(tmp_path, write_run):
    with pytest.raises(ArtifactError, match=r"there is none at .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="the run is not finished"):
        load(tmp_path)
    folder = write_run(manifest=False)
    for text in (
        "{",
        "[" * 100_000,
        '{"format": NaN}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ):
        (folder / "front.json").write_text(text)
        with pytest.raises(ArtifactError, match="is not readable as JSON"):
            load(folder)
    (folder / "front.json").write_text("[]")
    with pytest.raises(ArtifactError, match="expected format 1; got 'list'"):
        load(folder)


def test_a_front_that_was_changed_after_its_manifest_is_refused(write_run):
    folder = write_run()
    path = folder / "front.json"
    path.write_text(path.read_text().replace("3.0", "4.0", 1))
    with pytest.raises(
        ArtifactError, match=r"front\.json does not have the sha256 written for it.*pareto verify"
    ):
        load(folder)
    (folder / manifest.NAME).write_text(json.dumps({"format": 1, "files": {}}))
    with pytest.raises(ArtifactError, match=r"states no sha256 for front\.json"):
        load(folder)
    (folder / manifest.NAME).unlink()
    assert len(load(folder)) == 4


def test_links_are_refused(write_run, tmp_path):
    folder = write_run(manifest=False)
    outside = tmp_path / "outside.json"
    os.rename(folder / "front.json", outside)
    (folder / "front.json").symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"front\.json is a link"):
        load(folder)


def test_policies_are_loaded_by_kind_after_their_files_are_checked(write_run, fake_kind, tmp_path):
    folder = write_run()
    run = load(folder)
    assert run.policy(0) == run.policy("a") == run.policy(run[0]) == ("run", "a")
    file = folder / "policies" / "a" / "policy.json"
    data = file.read_bytes()
    file.write_bytes(b"{}")
    with pytest.raises(ArtifactError, match=r"policies/a/policy\.json does not have the sha256"):
        run.policy("a")
    file.unlink()
    with pytest.raises(ArtifactError, match="it is missing"):
        run.policy("a")
    (tmp_path / "p.json").write_bytes(data)
    file.symlink_to(tmp_path / "p.json")
    with pytest.raises(ArtifactError, match="is a link"):
        run.policy("a")
    file.unlink()
    file.parent.rmdir()
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "policy.json").write_bytes(data)
    file.parent.symlink_to(tmp_path / "moved")
    with pytest.raises(ArtifactError, match="policies/a is a link"):
        run.policy("a")


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", "a\\b", "", "./policy.json"])
def test_file_names_that_leave_the_folder_are_refused(write_run, fake_kind, name):
    with pytest.raises(ArtifactError, match="must stay inside its folder"):
        load(write_run(_first(files={name: "0" * 64}), manifest=False))


@pytest.mark.parametrize("name", ["policy.pkl", "adapter_model.bin", "deep/er/state.PT"])
def test_pickled_files_are_refused_before_anything_opens_them(write_run, fake_kind, name):
    with pytest.raises(ArtifactError, match=r"has the pickled file .*safetensors and JSON"):
        load(write_run(_first(files={name: "0" * 64}), manifest=False))


def test_a_policy_without_files_has_values_only(write_run, fake_kind):
    run = load(write_run(_first(files={})))
    with pytest.raises(ArtifactError, match="only its values are known"):
        run.policy("a")


def test_an_unknown_kind_is_named(write_run, fake_kind):
    run = load(write_run(_first(kind="faek")))
    with pytest.raises(UsageError, match=r"unknown policy kind 'faek' \(did you mean 'fake'\?\)"):
        run.policy("a")


def test_steer_reaches_any_registered_method(write_run, temporary):
    temporary(STEERERS)
    run = load(write_run())
    STEERERS.register("echo", source="this test")(lambda run, weights, **options: (weights.tolist(), options))
    assert run.steer({"tokens": 0.25, "helpful": 0.75}, method="echo", scale=2) == (
        [0.75, 0.25],
        {"scale": 2},
    )
    assert run.steer([0.75, 0.25], method="echo") == ([0.75, 0.25], {})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, UsageError, "either weights or at"),
        ({"weights": [0.5, 0.5], "at": "max helpful"}, UsageError, "either weights or at"),
        ({"weights": {"helpful": 1.0}}, ObjectiveError, "missing: tokens"),
        ({"weights": {"helpful": 1.0, "tokns": 0.0}}, ObjectiveError, "did you mean 'tokens'"),
        ({"weights": [0.5, 0.6]}, SimplexError, "sums to 1.1"),
        ({"weights": [0.5]}, UsageError, "expected 2 numbers"),
        ({"weights": [0.5, 0.5], "method": "nearst"}, UsageError, "did you mean 'nearest'"),
        ({"at": "max helpful", "method": "nearest"}, UsageError, "a query picks a measured policy"),
    ],
)
def test_wrong_requests_are_refused(write_run, fake_kind, arguments, error, message):
    with pytest.raises(error, match=message):
        load(write_run()).steer(**arguments)


def test_directions_are_checked_as_directions(write_run, fake_kind):
    def turn(front):
        for row in front["policies"]:
            row["weights_kind"] = "direction"

    run = load(write_run(turn))
    assert run.weights_kind == "direction"
    assert run.steer([0.8, -0.6]) == ("run", "a")
    with pytest.raises(SimplexError, match="length 1"):
        run.steer([0.5, 0.5])
