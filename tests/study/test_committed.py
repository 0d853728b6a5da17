"""A file that was damaged after its cell was committed is told of by every way back into the run, and never signed again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pareto.cells import canonical_json, digest
from pareto.cli import main
from pareto.errors import ArtifactError
from pareto.report import read_run
from pareto.state import manifest
from pareto.study import run as study_run
from pareto.study.audit import store_problems
from pareto.study.committed import all_recorded
from pareto.study.rescore import rescore
from pareto.study.store import Store


def go(study: Any, folder: Path, **options: Any) -> dict[str, Any]:
    return dict(study_run.run_study(study, folder, workers=0, **options).front)


@pytest.fixture
def run(study: Any, tmp_path: Path) -> Path:
    """A finished run of three policies; the corner is the margin of the middle one."""
    go(study("weights.n=3"), tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path) -> None:
    """Change one byte in the middle of a file, its size and its place in the folder unchanged."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def policy_file(run: Path) -> Path:
    return sorted(run.glob("policies/*/policy.json"))[0]


def score_file(run: Path) -> Path:
    return sorted(run.glob("scores/*.npz"))[0]


def sample_file(run: Path) -> Path:
    return sorted(run.glob("samples/*.jsonl"))[0]


def metric_file(run: Path) -> Path:
    return sorted(run.glob("metrics/*.jsonl"))[0]


def reference_file(run: Path) -> Path:
    return next(run.glob("prerequisites/*/reference.json"))


PLACES = [policy_file, score_file, sample_file, metric_file, reference_file]


def test_every_file_of_a_finished_cell_is_taken_down(run: Path) -> None:
    """The manifest holds what cells wrote, by the store's digests, and three files that no cell writes."""
    listed = manifest.read(run)
    with Store(run / "sweep.db") as store:
        known = all_recorded(store)
    assert {name: listed[name] for name in known} == known
    assert set(listed) - set(known) == {"config.yaml", "front.csv", "front.json"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_damage_is_refused_on_every_way(
    study: Any, run: Path, place: Callable[[Path], Path], harm: Callable[[Path], None]
) -> None:
    path = place(run)
    expected = manifest.sha256(path)
    harm(path)
    found = f"found {manifest.sha256(path)[:12]}" if path.exists() else "it is missing"
    before = (run / "manifest.json").read_bytes()
    says = (
        rf"{path.relative_to(run)} is not what cell \w+ wrote: expected sha256 {expected[:12]}\.\.\., {found}"
    )
    ways = {
        "again": lambda: go(study("weights.n=3"), run),
        "extended": lambda: go(study("weights.n=5"), run),
        "rescored": lambda: rescore(run),
    }
    for way in ways.values():
        with pytest.raises(ArtifactError, match=rf"{says}.*--redo-damaged.*: \w+$"):
            way()
    assert (run / "manifest.json").read_bytes() == before
    assert any(path.name in problem for problem in manifest.verify(run))


def test_a_stray_file_in_a_policys_folder_is_no_part_of_it(study: Any, run: Path) -> None:
    policy_file(run).with_name("more.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"policies/\w+/more.json is no file of cell"):
        go(study("weights.n=3"), run)


def test_damage_while_the_sweep_runs_is_not_signed(
    study: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the check at the start: a policy file is told of by its digest, a score file when front.json is made of it."""
    real = study_run.write_front

    def harmed(place: Callable[[Path], Path]) -> Any:
        def write_front(*args: Any) -> Any:
            flip(place(run))
            return real(*args)

        return write_front

    monkeypatch.setattr(study_run, "write_front", harmed(policy_file))
    go(study("weights.n=3"), run)
    assert manifest.verify(run) == [f"{policy_file(run)} does not have the sha256 that the manifest states"]
    flip(policy_file(run))  # as it was
    monkeypatch.setattr(study_run, "write_front", harmed(score_file))
    with pytest.raises(ArtifactError, match=r"\.npz is not a readable score file \(it does not have the sha"):
        go(study("weights.n=3"), run)


def test_redo_damaged_does_these_cells_again_and_no_others(study: Any, run: Path) -> None:
    """Two policies are trained again, 2 x 120 tokens and as many scorings; the reference and the third stand."""
    whole = json.loads((run / "front.json").read_text())
    files = manifest.digests(run / "policies")
    flip(policy_file(run))
    flip(sorted(run.glob("scores/*.npz"))[1])
    outcome = study_run.run_study(study("weights.n=3"), run, workers=0, redo_damaged=True)
    assert outcome.n_new == 2
    assert outcome.front["provenance"]["content_sha256"] == whole["provenance"]["content_sha256"]
    assert outcome.front["cost"]["wasted_tokens"] == 2 * (120 + 2)
    assert manifest.digests(run / "policies") == files
    assert main(["verify", str(run)]) == 0
    go(study("weights.n=3"), run)


def test_a_damaged_cell_of_an_earlier_plan_is_cleared_away(study: Any, run: Path) -> None:
    go(study("weights.kind=list", "weights.n=null", "weights.list=[{gain: 1, cost: 0}]"), run)
    with Store(run / "sweep.db") as store:
        kept = store.rows(planned=False)[0].cell.id
    flip(run / "policies" / kept / "policy.json")
    settings = ("weights.kind=list", "weights.n=null", "weights.list=[{gain: 1, cost: 0}]")
    with pytest.raises(ArtifactError, match=f"policies/{kept}/policy.json"):
        go(study(*settings), run)
    go(study(*settings), run, redo_damaged=True)
    assert not (run / "policies" / kept).exists()
    assert manifest.verify(run) == []


def test_where_other_files_come_out_dependents_are_done_again(
    study: Any, fakes: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a graphics card: the corner's redo differs in a last bit, so the middle policy, whose margin it is, follows."""
    real = fakes.FakeMethod.train

    def train(self: Any, cell: Any, task: Any, context: Any) -> Any:
        fitted = real(self, cell, task, context)
        if cell.weights["gain"] == 1.0:
            (context.folder / "policy.json").write_text('{"weight": 1.0, "total": 0.5}')
        return fitted

    monkeypatch.setattr(fakes.FakeMethod, "train", train)
    with Store(run / "sweep.db") as store:
        ids = {(row.cell.weights or {}).get("gain"): row.cell.id for row in store.rows()}
    flip(run / "policies" / ids[1.0] / "policy.json")
    outcome = study_run.run_study(study("weights.n=3"), run, workers=0, redo_damaged=True)
    with Store(run / "sweep.db") as store:
        attempts = {weight: store.row(cell).attempts for weight, cell in ids.items()}
    assert attempts == {None: 1, 1.0: 2, 0.5: 2, 0.0: 2}  # every other policy needs the margin
    assert outcome.n_new == 3


def test_a_report_reads_nothing_that_the_manifest_does_not_bear_out(run: Path) -> None:
    read_run(run)
    for place in (score_file, sample_file, metric_file):
        flip(place(run))
        with pytest.raises(ArtifactError, match="does not have the sha256 written for it"):
            read_run(run)
        flip(place(run))
    one, other, _ = sorted(run.glob("scores/*.npz"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(ArtifactError, match="does not have the sha256"):
        read_run(run)


@pytest.fixture
def sign(run: Path) -> Callable[[], Any]:
    """Writes the manifest anew, as whoever changes a file on purpose would."""
    listed = json.loads((run / "manifest.json").read_text())["unlisted"]
    return lambda: manifest.write(run, listed)


def test_verify_compares_with_the_store(
    run: Path, sign: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that was made anew bears out everything but the store."""
    path = score_file(run)
    policy = path.stem
    flip(policy_file(run))
    front = json.loads((run / "front.json").read_text())
    front["cost"]["train_tokens"] = 1
    front["policies"][0]["files"] = {"policy.json": manifest.sha256(policy_file(run))}
    (run / "front.json").write_text(json.dumps(front))
    sign()
    assert manifest.verify(run) == []
    problems = store_problems(run, front)
    assert len(problems) == 4
    for part in (
        f"policies/{policy}/policy.json: cell {policy} was committed with sha256",
        "front.json is not what was written last",
        f"the files of policy {front['policies'][0]['id']} are not those that the store holds",
        # the reference 7, two corners and the middle 120 each
        "cost train_tokens is stated as 1; the cells of the store give 367",
    ):
        assert sum(part in problem for problem in problems) == 1, part
    assert main(["verify", str(run)]) == 2
    assert "front.json is not what was written last" in capsys.readouterr().err


def test_policies_that_come_and_go_are_told(run: Path) -> None:
    front = json.loads((run / "front.json").read_text())
    gone = front["policies"].pop()
    (problem,) = store_problems(run, front)
    assert problem.endswith(f"only one of them holds {gone['id']}")


@pytest.mark.parametrize("column", ["cell", "result"])
def test_a_changed_row_of_the_store_is_told(run: Path, study: Any, column: str) -> None:
    with Store(run / "sweep.db") as store:
        old, new = ('"seed": 0', '"seed": 1') if column == "cell" else ('"wall_s":', '"wall_s":1')
        store._db.execute(f"UPDATE cells SET {column} = replace({column}, ?, ?)", (old, new))
    (problem,) = store_problems(run, None)
    assert "was changed" in problem or "does not have its stated sha256" in problem
    with pytest.raises(ArtifactError, match=r"sweep\.db"):
        go(study("weights.n=3"), run)


def test_a_copy_that_cannot_be_written_is_verified(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    before = sorted(os.listdir(run))
    assert main(["verify", str(run)]) == 0
    assert sorted(os.listdir(run)) == before


def test_cells_of_before_have_the_digests_of_their_policies(study: Any, run: Path) -> None:
    """Stores without a seal, whose results do not hold the digests of logs and of what is only needed: these are read anew."""
    with Store(run / "sweep.db") as store:
        store._db.execute("DELETE FROM facts WHERE key = 'seal'")
        for row in store.rows():
            result = {k: v for k, v in (row.result or {}).items() if k != "files"}
            store._db.execute(
                "UPDATE cells SET result = ?, result_sha256 = ? WHERE id = ?",
                (canonical_json(result), digest(result), row.cell.id),
            )
    go(study("weights.n=5"), run)
    assert manifest.verify(run) == []
    flip(policy_file(run))
    with pytest.raises(ArtifactError, match=r"policy.json is not what cell"):
        go(study("weights.n=5"), run)
