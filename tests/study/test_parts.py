"""Several methods in one folder: what they share is made once, each has its own figures, and whoever ran last changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pareto
from pareto.cells import Cell
from pareto.cli import main
from pareto.cli._plan import show_plan
from pareto.errors import ArtifactError, ConfigError, Interrupted, UsageError
from pareto.methods import METHODS
from pareto.report import build, publish, read_runs
from pareto.state import manifest
from pareto.study import run as study_run
from pareto.study.parts import read_parts
from pareto.study.rescore import rescore
from pareto.study.seal import seal
from pareto.study.store import Store

RANDOM = ("weights.kind=random", "weights.n=4")


@pytest.fixture
def study(study: Any, fakes: Any) -> Iterator[Any]:
    """Makes studies of the fakes; `fast` is a method whose corners are those of `fake_method`."""

    @METHODS.register("fast", source="tests")
    class Fast(fakes.FakeMethod):
        """Trains inner weights half as long."""

        name: str = "fast"
        weights_kind: str = "simplex"

        def plan(self, task: Any, weights: Any, seeds: Any) -> list[Cell]:
            cells = super().plan(task, weights, seeds)
            inner = [c for c in cells if c.weights and max(c.weights.values()) < 1.0]
            return [c for c in cells if c not in inner] + [self.restarted(c, None, 0.5) for c in inner]

    yield study
    METHODS._entries.pop("fast", None)


def go(study: Any, folder: Path, **options: Any) -> dict[str, Any]:
    study_run.run_study(study, folder, workers=0, **options)
    return json.loads((folder / "front.json").read_text())


@pytest.fixture
def both(study: Any, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with `fake_method` at its corners and two weights between them, then `fast` at the same."""
    go(study("weights.n=4"), tmp_path / "run")
    return tmp_path / "run", go(study("weights.n=4", "method.name=fast", "study=second"), tmp_path / "run")


def test_what_methods_share_is_made_once(
    study: Any, both: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, front = both
    alone = {
        "fake_method": json.loads((tmp_path / "run" / "front.json").read_text()),
        "fast": go(study("weights.n=4", "method.name=fast"), tmp_path / "alone"),
    }
    whose = [policy["method"] for policy in front["policies"]]
    # two corners that both want, two weights between of each
    assert sorted(whose) == [
        "fake_method",
        "fake_method",
        "fake_method+fast",
        "fake_method+fast",
        "fast",
        "fast",
    ]
    assert (front["method"], front["study"]) == ("fake_method+fast", "fake")
    # the reference 7, four policies of 120 tokens, two of 60
    assert front["cost"]["train_tokens"] == 7 + 4 * 120 + 2 * 60
    assert manifest.verify(folder) == []
    assert main(["verify", str(folder)]) == 0
    ids = {p["id"] for p in front["policies"] if "fast" in p["method"].split("+")}
    assert ids == {p["id"] for p in alone["fast"]["policies"]}


def test_each_method_has_its_own_figures(
    study: Any, both: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The corners are the same policies, so the point is the same, and so are the figures of each method by itself."""
    _, front = both
    first = go(study("weights.n=4"), tmp_path / "first")
    second = go(study("weights.n=4", "method.name=fast", "study=second"), tmp_path / "second")
    assert front["ref_point"] == first["ref_point"] == second["ref_point"]
    for name, alone in (("fake_method", first), ("fast", second)):
        own = front["methods"][name]
        assert own["indicators"] == alone["indicators"]
        assert own["exact"] == alone["exact"]
        assert own["cost"]["train_tokens"] == alone["cost"]["train_tokens"]
        assert own["study"] == alone["study"]
    assert front["indicators"]["hypervolume"] >= max(
        own["indicators"]["hypervolume"] for own in front["methods"].values()
    )
    assert front["exact"]["n"] == 6


def test_whoever_runs_last_changes_nothing(study: Any, both: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = both
    before = manifest.digests(folder, {"sweep.db", "sweep.lock"})
    for settings in (("weights.n=4",), ("weights.n=4", "method.name=fast", "study=second")):
        outcome = study_run.run_study(study(*settings), folder, workers=0)
        assert (outcome.n_new, outcome.n_done) == (0, 5)
        assert manifest.digests(folder, {"sweep.db", "sweep.lock"}) == before


def test_each_config_resumes_its_own_method(study: Any, both: tuple[Path, dict[str, Any]]) -> None:
    from pareto.study.config import load_study

    folder, _ = both
    first, second = load_study(folder / "config.yaml"), load_study(folder / "configs" / "fast.yaml")
    assert (first.method_name, second.method_name) == ("fake_method", "fast")
    more = second.model_copy(update={"seeds": (0, 1)})
    outcome = study_run.run_study(more, folder, workers=0)
    # the second seed: two corners and two weights between them, the first method left as it is
    assert (outcome.n_new, len(outcome.front["policies"])) == (4, 10)
    assert load_study(folder / "configs" / "fast.yaml").seeds == (0, 1)
    assert load_study(folder / "config.yaml").seeds == (0,)


def test_a_killed_second_method_resumes(
    study: Any, both: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, front = both
    folder = tmp_path / "stopped"
    go(study("weights.n=4"), folder)
    seen: list[Any] = []
    with pytest.raises(Interrupted):
        go(
            study("weights.n=4", "method.name=fast", "study=second"),
            folder,
            notify=seen.append,
            stop=lambda: any(n.kind == "progress" for n in seen),
        )
    again = go(study("weights.n=4", "method.name=fast", "study=second"), folder)
    assert again["provenance"]["content_sha256"] == front["provenance"]["content_sha256"]


def test_what_the_other_method_left_undone_is_told(study: Any, tmp_path: Path) -> None:
    point = "score.ref_point={gain: -1, cost: 2}"
    seen: list[Any] = []
    with pytest.raises(Interrupted):
        go(study(point, "weights.n=4"), tmp_path / "run", notify=seen.append, stop=lambda: len(seen) > 14)
    front = go(study(point, "weights.n=4", "method.name=fast"), tmp_path / "run")
    left = [one for one in front["failed"] if one["why"] == "not done: run the config of fake_method again"]
    assert left
    whole = go(study(point, "weights.n=4"), tmp_path / "run")
    assert whole["failed"] == []
    assert len(whole["policies"]) == 6
    assert whole["cost"]["train_tokens"] == 7 + 4 * 120 + 2 * 60


def test_damage_to_another_methods_cell(study: Any, both: tuple[Path, dict[str, Any]]) -> None:
    """The first method's config clears it away and says whose it is; its own config does it again."""
    folder, front = both
    path = (
        next(folder / "policies" / p["id"] for p in front["policies"] if p["method"] == "fast")
        / "policy.json"
    )
    path.write_text(path.read_text() + " ")
    with pytest.raises(ArtifactError, match=rf"{path.parent.name}/policy.json is not what cell"):
        go(study("weights.n=4"), folder)
    cleared = go(study("weights.n=4"), folder, redo_damaged=True)
    assert cleared["failed"] == [{"cell": path.parent.name, "why": "not done: run the config of fast again"}]
    assert manifest.verify(folder) == []
    again = go(study("weights.n=4", "method.name=fast", "study=second"), folder)
    assert again["provenance"]["content_sha256"] == front["provenance"]["content_sha256"]


def test_who_may_not_join(study: Any, both: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = both
    before = (folder / "front.json").read_bytes()
    with pytest.raises(ConfigError, match=r"another study: method.rate was 1.0, now 2.0"):
        go(study("method.name=fast", "method.rate=2.0"), folder)
    with pytest.raises(ConfigError, match=r"task.seed was 0, now 5"):
        go(study("method.name=fast", "task.seed=5"), folder)
    with pytest.raises(ConfigError, match=r"measured against one point: give both the same"):
        go(study("method.name=fast", "score.ref_point={gain: -1, cost: 2}"), folder)
    assert (folder / "front.json").read_bytes() == before
    assert main(["verify", str(folder)]) == 0  # the store is sealed as it was
    seen: list[Any] = []
    with pytest.raises(Interrupted):
        go(study(), tmp_path / "early", notify=seen.append, stop=lambda: len(seen) > 10)
    with pytest.raises(ConfigError, match="not fixed before fake_method is done; finish that first"):
        go(study("method.name=fast"), tmp_path / "early")


def test_directions_do_not_join_weights(study: Any, both: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = both
    made = study(
        "weights.kind=directions", "weights.n=3", "method.name=fast", "method.weights_kind=direction"
    )
    with pytest.raises(ConfigError, match=r"method\.weights_kind was"):
        go(made, folder)  # the same method under another setting
    with Store(folder / "sweep.db") as store:
        parts = store.get("parts")
        del parts["fast"]
        store.set("parts", parts)
        seal(store)
    with pytest.raises(
        ConfigError, match=r"weights are of kind simplex; fast takes direction: choose another"
    ):
        go(made, folder)


def test_a_folder_of_before_is_asked_to_note_its_plan(study: Any, both: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = both
    with Store(folder / "sweep.db") as store:
        store.set("parts", None)
        seal(store)
    with pytest.raises(ConfigError, match="holds fake_method, whose plan was not noted; run its own config"):
        go(study("weights.n=4", "method.name=fast"), folder)
    go(study("weights.n=4"), folder)
    front = go(study("weights.n=4", "method.name=fast", "study=second"), folder)
    assert len(front["policies"]) == 6
    with Store(folder / "sweep.db") as store:
        assert list(read_parts(store)) == ["fake_method", "fast"]


def test_a_prerequisite_of_one_may_be_a_policy_of_another(study: Any, tmp_path: Path) -> None:
    """The first method needs a corner as a margin only, the second one wants it: it is scored then, and stays so."""
    inner = ("weights.kind=list", "weights.n=null", "score.ref_point={gain: -1, cost: 2}")
    middle = "weights.list=[{gain: 0.5, cost: 0.5}]"
    corner = "weights.list=[{gain: 1.0, cost: 0.0}]"
    go(study(*inner, middle), tmp_path / "run")
    front = go(study(*inner, corner, "method.name=fast"), tmp_path / "run")
    assert sorted(p["method"] for p in front["policies"]) == ["fake_method", "fast"]
    again = go(study(*inner, middle), tmp_path / "run")
    assert again["provenance"]["content_sha256"] == front["provenance"]["content_sha256"]


def test_rounds_are_each_methods_own(study: Any, tmp_path: Path) -> None:
    adaptive = ("weights.kind=linear_support", "weights.n=5")
    alone = go(study(*adaptive, "method.name=fast"), tmp_path / "alone")
    go(study(*adaptive), tmp_path / "run")
    front = go(study(*adaptive, "method.name=fast"), tmp_path / "run")
    assert "rounds" not in front
    chosen = [[r["weights"] for r in one["rounds"]] for one in (front["methods"]["fast"], alone)]
    assert chosen[0] == chosen[1]
    assert front["methods"]["fake_method"]["rounds"] != []


def test_readers_tell_methods_apart(both: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, front = both
    run = pareto.load(folder)
    assert run.methods == ("fake_method", "fast")
    fast = run.of_method("fast")
    assert [len(run), len(fast)] == [6, 4]
    assert fast.indicators == front["methods"]["fast"]["indicators"]
    assert fast.hypervolume() == pytest.approx(fast.indicators["hypervolume"])
    with pytest.raises(
        UsageError, match=r"holds policies of fake_method, fast; got 'fats' \(did you mean 'fast'"
    ):
        run.of_method("fats")
    report = build(read_runs(folder))
    assert [(one.name, one.method, len(one.policies)) for one in report.runs] == [
        ("run-fake_method", "fake_method", 4),
        ("run-fast", "fast", 4),
    ]
    assert report.comparison is not None
    assert "name: fast" in (report.runs[1].config or "")
    publish(folder, tmp_path / "published")
    assert sorted(p.name for p in (tmp_path / "published").rglob("*") if p.is_file()) == [
        *("config.yaml", "fast.yaml", "front-fake_method.svg", "front-fast.svg", "front.csv", "front.json"),
        "report.md",
    ]
    table = (folder / "front.csv").read_text().splitlines()
    assert table[0].endswith(",method")
    assert table[1].endswith(",fake_method+fast")
    assert rescore(folder).changed == []


def test_a_dry_run_knows_what_the_other_method_made(
    study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference and both corners are there; two weights of half the length are left, 60 tokens each."""
    go(study("weights.n=4"), tmp_path / "run")
    show_plan(study("weights.n=4", "method.name=fast"), tmp_path / "run", 1)
    out = capsys.readouterr().out
    assert "5 cells, 4 of them policies; 2 to do" in out
    assert "to do: 120 training tokens" in out


def test_mixtures_are_made_of_one_methods_policies(both: tuple[Path, dict[str, Any]]) -> None:
    from pareto.steer.members import chosen_records

    folder, _ = both
    run = pareto.load(folder)
    of = {name: {r.id for r in run.of_method(name)} for name in run.methods}
    assert {r.id for r in chosen_records(run, "all")} == of["fake_method"]
    assert {r.id for r in chosen_records(run.of_method("fast"), "all")} == of["fast"]
