"""What holds for every procedure: killed runs, finished rounds, reference caches, folders of other jobs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pareto.core.loop import Hooks
from pareto.core.procedures import PROCEDURES, rounds
from pareto.core.procedures.accelerated import Accelerated
from pareto.core.procedures.base import PairData, build_procedure
from pareto.core.procedures.curry import Curry
from pareto.core.procedures.iterative import Iterative
from pareto.core.procedures.plain import Plain
from pareto.core.procedures.tr_dpo import TRDPO
from pareto.errors import ArtifactError, ShapeError, UsageError
from tests.core import small
from tests.core.procedures.tabular import KilledError, all_pairs, killed_after, llama_job, same, weights

EVERY = {
    "plain": Plain(),
    "curry": Curry(),
    "curry from the start": Curry(reference="start", within="prompt"),
    "iterative": Iterative(),
    "accelerated": Accelerated(),
    "accelerated on all": Accelerated(data="same", rounds=2, alpha=0.5),
    "tr_dpo": TRDPO(every=2),
    "tr_dpo hard": TRDPO(every=3, alpha=1.0),
}


def test_all_kinds_are_tried_here():
    assert {p.kind for p in EVERY.values()} == set(PROCEDURES.names())  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["full", "adapter"])
@pytest.mark.parametrize("name", EVERY)
def test_a_killed_run_ends_where_an_uninterrupted_one_ends(name, kind, tmp_path):
    procedure = EVERY[name]
    whole = llama_job(tmp_path / "whole", kind)
    result = procedure.run(whole)
    assert result.steps == 9
    folder = tmp_path / "killed"
    with pytest.raises(KilledError):  # in the middle of a round, and after a reference has moved
        procedure.run(llama_job(folder, kind, hooks=killed_after(5)))
    again = llama_job(folder, kind)
    assert procedure.run(again) == result
    assert same(weights(again.model), weights(whole.model))


@pytest.mark.parametrize("kind", ["full", "adapter"])
@pytest.mark.parametrize("procedure", [Curry(stages=1), Iterative(rounds=1), TRDPO(every=100)], ids=str)
def test_one_round_is_plain_training(procedure, kind, tmp_path):
    plain, other = llama_job(tmp_path / "a", kind), llama_job(tmp_path / "b", kind)
    assert Plain().run(plain).tokens > 0
    if isinstance(procedure, Curry):  # the same pairs in the curriculum's order
        assert plain.data.gap is not None
        easy_first = np.argsort(-plain.data.gap, kind="stable")
        part, tokens = plain.data.take(easy_first)
        plain = llama_job(tmp_path / "c", kind, data=part, reference=plain.reference[tokens])
        Plain().run(plain)
    procedure.run(other)
    assert same(weights(plain.model), weights(other.model))


@pytest.mark.parametrize("procedure", [Curry(), Iterative(), Accelerated()], ids=lambda p: p.kind)
def test_finished_rounds_are_not_done_again(procedure, tmp_path, monkeypatch):
    first = llama_job(tmp_path)
    result = procedure.run(first)
    monkeypatch.setattr(rounds, "train", None)
    monkeypatch.setattr(rounds, "response_logps", None)
    again = llama_job(tmp_path)
    assert procedure.run(again) == result
    assert same(weights(again.model), weights(first.model))


def count_passes(monkeypatch):
    """[tables] of the reference passes from now on."""
    seen, real = [], rounds.response_logps

    def counted(model, table, **more):
        seen.append(len(table.responses))
        return real(model, table, **more)

    monkeypatch.setattr(rounds, "response_logps", counted)
    return seen


@pytest.mark.parametrize(
    ("procedure", "passes"),
    [
        (Plain(), 0),
        (Curry(stages=3), 2),  # the first stage has the job's own
        (Curry(stages=3, reference="start"), 0),
        (Iterative(rounds=3, data="same"), 2),
        (Accelerated(rounds=3), 2),
        (TRDPO(every=2), 4),  # after steps 2, 4, 6, 8 of 9
    ],
    ids=lambda v: getattr(v, "kind", str(v)),
)
def test_the_reference_is_computed_when_it_moves_and_never_otherwise(
    procedure, passes, tmp_path, monkeypatch
):
    seen = count_passes(monkeypatch)
    procedure.run(llama_job(tmp_path))
    assert len(seen) == passes


def test_a_killed_round_finds_its_reference_in_the_cache(tmp_path, monkeypatch):
    with pytest.raises(KilledError):
        Iterative().run(llama_job(tmp_path, hooks=killed_after(5)))  # in the second round of three steps
    seen = count_passes(monkeypatch)
    Iterative().run(llama_job(tmp_path))
    assert len(seen) == 1  # the third round's


def test_a_round_of_a_moved_reference_starts_at_ln_2(tmp_path):
    logged = []
    job = llama_job(tmp_path, hooks=Hooks(log=logged.append))
    Iterative().run(job)
    assert [f["step"] for f in logged] == list(range(1, 10))
    assert [f["round"] for f in logged] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [f["tokens"] for f in logged] == sorted(f["tokens"] for f in logged)
    assert [logged[i]["loss"] for i in (0, 3, 6)] == pytest.approx([math.log(2)] * 3, abs=1e-5)
    assert all(abs(logged[i]["loss"] - math.log(2)) > 1e-3 for i in (2, 5, 8))


def test_progress_counts_all_rounds(tmp_path):
    told = []
    Iterative().run(
        llama_job(tmp_path, hooks=Hooks(progress=lambda done, total, f: told.append((done, total))))
    )
    assert told == [
        (0, 9),
        (1, 9),
        (2, 9),
        (3, 9),
        (3, 9),
        (4, 9),
        (5, 9),
        (6, 9),
        (6, 9),
        (7, 9),
        (8, 9),
        (9, 9),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"dtype": "bfloat16"},
        {"training": llama_job(None).training.model_copy(update={"lr": 0.5})},
    ],
)
def test_a_folder_of_another_job_is_refused(change, tmp_path):
    Iterative().run(llama_job(tmp_path))
    with pytest.raises(ArtifactError, match="another job"):
        Iterative().run(llama_job(tmp_path, **change))
    with pytest.raises(ArtifactError, match="another job"):
        Iterative(rounds=2).run(llama_job(tmp_path))


def test_a_changed_model_changes_the_digest_and_nothing_else_does():
    model = small.llama(num_hidden_layers=1)
    before = rounds.weights_sha256(model)
    assert rounds.weights_sha256(small.llama(num_hidden_layers=1)) == before
    model.lm_head.weight.data[3, 4] += 1e-3
    assert rounds.weights_sha256(model) != before
    assert rounds.weights_sha256(model.bfloat16()) != before


def test_parts_share_no_prompt_and_leave_no_pair_out(tmp_path):
    job = llama_job(tmp_path)
    parts = [rounds.round_part(job, "parts", 3, i) for i in range(3)]
    prompts = [set(data.prompt.tolist()) for data, _ in parts]
    assert set.union(*prompts) == {0, 1, 2, 3}
    assert sum(map(len, prompts)) == 4
    assert sum(len(data.examples) for data, _ in parts) == 12
    with pytest.raises(UsageError, match="5 rounds on parts of their own need 5 prompts; got 4"):
        rounds.round_part(job, "parts", 5, 0)


def test_a_part_keeps_texts_and_columns():
    data = all_pairs()
    rows = np.array([7, 2, 31])
    part, tokens = data.take(rows)
    for i, row in enumerate(rows):
        for k in range(2):
            before, after = data.examples[row, k], part.examples[i, k]
            assert part.table.responses[after].tolist() == data.table.responses[before].tolist()
            assert part.table.prompt_of[after] == data.table.prompt_of[before]
    for column in ("gap", "target"):
        assert (getattr(part, column) == getattr(data, column)[rows]).all()
    assert (data.table.responses.flat[tokens] == part.table.responses.flat).all()


def test_ragged_tokens_of_a_part_find_their_reference(tmp_path):
    job = llama_job(tmp_path)
    part, tokens = job.data.take(np.array([5, 0, 10]))
    assert (job.data.table.responses.flat[tokens] == part.table.responses.flat).all()
    assert len(tokens) == len(part.table.responses.flat) < len(job.reference)


def test_fresh_pairs_are_asked_for_once_a_round_at_the_model_of_that_round(tmp_path):
    asked = []

    def job_of(**more):
        job = llama_job(tmp_path, **more)

        def fresh(number):
            asked.append((number, rounds.weights_sha256(job.model)))
            return job.data.take(np.arange(number, 12))[0]

        return replace(job, fresh=fresh)

    procedure = Iterative(data="fresh")
    with pytest.raises(KilledError):
        procedure.run(job_of(hooks=killed_after(5)))
    again = job_of()
    procedure.run(again)
    assert [number for number, _ in asked] == [0, 1, 2]  # the killed round kept its pairs
    assert len({digest for _, digest in asked}) == 3
    whole = replace(
        llama_job(tmp_path / "whole"), fresh=lambda number: again.data.take(np.arange(number, 12))[0]
    )
    procedure.run(whole)
    assert same(weights(whole.model), weights(again.model))


def test_fresh_pairs_need_somebody(tmp_path):
    with pytest.raises(UsageError, match="use data 'parts' or 'same'"):
        Iterative(data="fresh").run(llama_job(tmp_path))


def test_steps_are_shared_out():
    training = llama_job(None).training.model_copy(update={"steps": 11})
    assert [rounds.share_of_steps(training, i, 3).steps for i in range(3)] == [4, 4, 3]
    with pytest.raises(UsageError, match="at least one for each of 12 rounds; got 11"):
        rounds.share_of_steps(training, 0, 12)
    by_epochs = training.model_copy(update={"steps": None})
    assert rounds.share_of_steps(by_epochs, 0, 12) == by_epochs


def test_columns_must_fit():
    data = all_pairs()
    with pytest.raises(ShapeError, match="gap must be"):
        PairData(data.table, data.examples, gap=np.ones(3))
    with pytest.raises(ShapeError, match="response token"):
        llama_job(None, reference=np.zeros(3, np.float32))


def test_procedures_are_named_by_their_kind():
    assert build_procedure("plain") == Plain()
    assert build_procedure({"kind": "accelerated", "alpha": 0.5}) == Accelerated(alpha=0.5)
    assert build_procedure(TRDPO()) == TRDPO()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "curri"}, "unknown procedure 'curri'.*'curry'"),
        ({"kind": "curry", "stagse": 2}, "curry.stagse: .*not permitted"),
        ({"kind": "accelerated", "alpha": 1.0}, "accelerated.alpha: .*less than 1; got 1.0"),
        ({"alpha": 1.0}, "expected a mapping with the key 'kind'"),
    ],
)
def test_wrong_settings_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        build_procedure(value)
