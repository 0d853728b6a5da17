import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.report import build, read_run
from pareto.report.building import EXACT_POINTS
from tests.report.synthetic import write_run


def test_all_that_is_there_is_read(folder: Callable[..., Path]) -> None:
    run = read_run(folder("ordinary"))
    assert run.name == "ordinary"
    assert len(run.policies) == len(run.scores) == len(run.samples) == 9
    assert run.config is not None
    first = run.policies[0]
    np.testing.assert_allclose(run.scores[first.id].values.mean(axis=0), run.policies.values[0])


def test_only_front_json_must_be_there(folder: Callable[..., Path]) -> None:
    run = read_run(folder("imported", sparse=True, exact=False))
    assert (run.config, run.scores, run.samples) == (None, {}, {})


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no-such"):
        read_run(tmp_path / "no-such")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("samples/{id}.jsonl", b'{"prompt": "x"}\n{"prompt"\n', r"jsonl:2: not JSON"),
        ("samples/{id}.jsonl", b"[1]\n", r"jsonl:1: expected an object; got list"),
        ("samples/{id}.jsonl", b"\xff\xfe\n", r"jsonl:1: not JSON"),
        ("scores/{id}.npz", b"not a zip", r"npz is not a readable score file"),
        ("scores/{id}.npz", b"PK\x03\x04broken", r"npz is not a readable score file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    run = write_run(tmp_path / "run", n=3, units=8)
    policy = json.loads((run / "front.json").read_text())["policies"][0]["id"]
    (run / name.format(id=policy)).write_bytes(content)
    (run / "manifest.json").unlink()  # a run without one: nothing else tells
    with pytest.raises(ArtifactError, match=message):
        read_run(run)


def test_scores_of_another_shape(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n=3, units=8)
    policy = json.loads((run / "front.json").read_text())["policies"][0]["id"]
    np.savez(run / "scores" / f"{policy}.npz", values=np.zeros((8, 5)), unit_ids=np.arange(8).astype(str))
    (run / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"expected values \[8, 2\].*got \[8, 5\]"):
        read_run(run)


def test_replies_keep_their_line_separators(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n=3, units=8, phrases=("one\u2028two\x85three",) * 3)
    assert any(
        "one\u2028two\x85three" in row["response"] for rows in read_run(run).samples.values() for row in rows
    )


def test_exact_points_of_another_width(tmp_path: Path) -> None:
    def edit(front: dict[str, Any]) -> None:
        front["exact"]["front"] = [[1.0, 2.0, 3.0], [1.0, 2.0]]

    run = write_run(tmp_path / "run", n=3, units=8, edit=edit)
    with pytest.raises(ArtifactError, match="exact points need 2 numbers each"):
        build([read_run(run)])


def test_a_dense_exact_front_is_thinned_between_its_ends(folder: Callable[..., Path]) -> None:
    run = read_run(folder("ordinary"))
    exact = build([run]).runs[0].exact
    assert exact is not None
    whole = sorted(map(tuple, (run.policies.exact or {})["front"]))
    assert len(whole) > EXACT_POINTS == len(exact.front)
    assert (tuple(exact.front[0]), tuple(exact.front[-1])) == (whole[0], whole[-1])


def test_no_run_no_report() -> None:
    with pytest.raises(ArtifactError, match="at least one"):
        build([])
