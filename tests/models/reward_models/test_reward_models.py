"""Reward models: steps and targets by hand, losses against plain formulas, training on what is known, storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.core.loop import Hooks, TrainConfig
from pareto.core.reference import model_sha256
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError, DataError, ShapeError
from pareto.models.reward_models.heads import LinearHead, MLPHead, build_head
from pareto.models.reward_models.losses import bradley_terry, squared_error, step_likelihood
from pareto.models.reward_models.model import RewardForm, ends_only, load_reward_model
from pareto.models.reward_models.reading import StepTable, all_states
from pareto.models.reward_models.ridge import fit_ridge
from pareto.models.reward_models.steps import AfterText, EveryTokens, WholeReply
from pareto.models.reward_models.targets import hindsight_targets
from pareto.models.reward_models.training import train_pairs, train_ridge, train_steps, train_values
from pareto.models.rewards import build_reward
from pareto.state.checkpoint import Checkpoints
from tests.models.tiny import llama, tokenizer

NAN = float("nan")
CONFIG = TrainConfig(steps=200, batch_size=32, lr=1e-2, schedule="constant", log_every=100)


class Letters:
    """Token i is the i-th letter of "ab.\\n"; enough of a tokenizer to find steps with."""

    def decode(self, ids, **options):
        return "".join("ab.\n"[i] for i in ids)


# ---------------------------------------------------------------------------------------------- steps


def test_steps_end_where_the_text_says():
    ids = [0, 1, 3, 0, 3, 1, 1]  # ab\n a\n bb
    assert AfterText().ends(Letters(), ids).tolist() == [2, 4, 6]
    # at least three tokens: "ab\n" and then "a\nb", whose newline counts once the step is long enough
    assert AfterText(min_tokens=3).ends(Letters(), ids).tolist() == [2, 5, 6]
    assert AfterText(pattern="x", max_tokens=3).ends(Letters(), ids).tolist() == [2, 5, 6]
    assert EveryTokens(n=2).ends(Letters(), ids).tolist() == [1, 3, 5, 6]
    assert WholeReply().ends(Letters(), ids).tolist() == [6]
    assert AfterText().ends(Letters(), []).tolist() == []
    with pytest.raises(ValueError, match="not a regular expression"):
        AfterText(pattern="(")


def test_whether_a_token_ends_a_step_does_not_depend_on_what_follows():
    ids = [0, 2, 1, 2, 2, 0, 3]
    rule = AfterText(pattern=r"\.$")
    whole = rule.ends(Letters(), ids)
    for n in range(1, len(ids)):
        assert rule.ends(Letters(), ids[:n])[:-1].tolist() == [e for e in whole if e < n - 1]


def test_reads_stand_behind_the_steps():
    table = ResponseTable(Ragged.of([[0]]), Ragged.of([[0, 1, 3, 0, 9], [9], [1, 9]]), np.zeros(3, np.int64))
    steps = StepTable.of(table, Letters(), AfterText())
    # ab\n|a| : tokens 3 and 4 (the end) are predicted after the steps; an empty reply is read where it would begin
    assert np.flatnonzero(steps.reads).tolist() == [3, 4, 5, 7]
    assert steps.offsets.tolist() == [0, 2, 3, 4]
    assert steps.last.tolist() == [1, 2, 3]
    assert steps.reads_of(np.array([2, 0])).tolist() == [3, 0, 1]
    with pytest.raises(ShapeError, match="end token at least"):
        StepTable.of(ResponseTable(Ragged.of([[0]]), Ragged.of([[]]), np.zeros(1, np.int64)), Letters(), AfterText())  # fmt: skip


# ---------------------------------------------------------------------------------------------- targets and losses


def test_hindsight_targets_by_hand():
    # r = 1, 0, 2; z = 10; gamma .5: 1 + .25 * 10, 0 + .5 * 10, 2 + 10
    assert hindsight_targets(np.array([1.0, 0.0, 2.0]), 10.0, gamma=0.5).tolist() == [3.5, 5.0, 12.0]
    both = hindsight_targets(np.zeros((2, 2)), np.array([1.0, -1.0]), gamma=0.9)
    assert np.allclose(both, [[0.9, -0.9], [1.0, -1.0]])
    assert hindsight_targets(np.zeros(2), 1.0, gamma=0.0).tolist() == [0.0, 1.0]


def test_losses_are_their_formulas_and_the_unknown_counts_for_nothing():
    a, b = torch.tensor([[0.3, -2.0], [1.0, 0.5]]), torch.tensor([[-0.4, 1.0], [2.0, 0.5]])
    targets = torch.tensor([[1.0, NAN], [NAN, NAN]])
    assert torch.allclose(squared_error(a, targets), torch.tensor([0.49, 0.0]))
    p = torch.sigmoid(torch.tensor(0.3))
    assert torch.allclose(step_likelihood(a, targets)[0], -p.log())
    labels = torch.tensor([[1.0, -1.0], [0.0, NAN]])
    by_hand = [
        0.5 * (np.log1p(np.exp(-0.7)) + np.log1p(np.exp(-3.0))),  # both winners ahead by .7 and 3
        0.5 * (np.log1p(np.exp(1.0)) + np.log1p(np.exp(-1.0))),  # a tie at a difference of -1
    ]
    assert np.allclose(bradley_terry(a, b, labels), by_hand)


def test_ridge_is_the_closed_form_of_the_rows_that_have_the_attribute():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((80, 3)) + 2.0
    y = np.column_stack([x @ [1.0, -2.0, 0.5] + 3.0, x @ [0.0, 1.0, 1.0] + draw.standard_normal(80)])
    y[::3, 1] = NAN
    validation = np.arange(80) >= 60
    found = fit_ridge(x, y, validation, strengths=(5.0,))
    for j in range(2):
        rows = np.isfinite(y[:, j]) & ~validation
        # augmented least squares: an intercept column that is not punished
        design = np.vstack([np.column_stack([x[rows], np.ones(rows.sum())]), np.sqrt(5.0) * np.eye(3, 4)])
        solution = np.linalg.lstsq(design, np.concatenate([y[rows, j], np.zeros(3)]), rcond=None)[0]
        assert np.allclose(np.append(found.weight[j], found.bias[j]), solution)
    chosen = fit_ridge(x, y, validation)
    assert chosen.strength[0] == 1e-4  # exact data want no shrinkage
    assert chosen.r2[0] > 0.999
    y[:, 1] = NAN
    with pytest.raises(DataError, match="attribute 1 has 0 rows to fit on"):
        fit_ridge(x, y, validation)


# ---------------------------------------------------------------------------------------------- training

WORDS = (" cat", " dog")


def replies_with_cats(n: int, seed: int = 0) -> tuple[ResponseTable, np.ndarray]:
    """n replies of four words each, cats or dogs, and [n, 4] whether each word is a cat."""
    draw = np.random.default_rng(seed)
    cats = draw.integers(2, size=(n, 4))
    ids = {c: tokenizer()(WORDS[1 - c], add_special_tokens=False)["input_ids"] for c in (0, 1)}
    assert len(ids[0]) == len(ids[1]) == 1
    rows = [[ids[int(c)][0] for c in row] + [tokenizer().eos_token_id] for row in cats]
    prompt = tokenizer()("the")["input_ids"]
    return ResponseTable(Ragged.of([prompt]), Ragged.of(rows), np.zeros(n, np.int64)), cats


def form(output: str, **more) -> RewardForm:
    return RewardForm(objectives=("cats", "dogs"), output=output, steps=EveryTokens(), **more)


@pytest.fixture(scope="module")
def table_and_cats():
    return replies_with_cats(256)


def test_states_at_reads_are_those_of_a_plain_forward_pass(table_and_cats):
    table, _ = table_and_cats
    model = llama()
    steps = StepTable.of(table, tokenizer(), EveryTokens(n=2))
    got = all_states(model, steps)
    for i in (0, 7):
        ids = torch.tensor([[*table.prompts[0].tolist(), *table.responses[i].tolist()]])
        with torch.no_grad():
            hidden = model.model(ids).last_hidden_state[0]
        start = len(table.prompts[0])
        # after the second and the fourth word
        assert torch.allclose(got[2 * i : 2 * i + 2], hidden[[start + 1, start + 3]], atol=1e-5)


def test_values_steps_and_pairs_learn_what_they_are_told(table_and_cats):
    table, cats = table_and_cats
    fresh, fresh_cats = replies_with_cats(64, seed=1)
    steps = StepTable.of(table, tokenizer(), EveryTokens())
    so_far = np.cumsum(cats, axis=1)
    counts = np.stack([so_far, np.arange(1, 5) - so_far], axis=-1).astype(np.float64)  # [n, 4, 2]

    def frozen():
        return llama().requires_grad_(False)

    values, result = train_values(
        frozen(), tokenizer(), form("value"), steps, counts.reshape(-1, 2), config=CONFIG, seed=0
    )
    assert result.tokens == len(table.responses.flat)
    predicted = values.at_reads(values.steps(fresh)).reshape(-1, 4, 2)
    assert np.abs(predicted[..., 0] - np.cumsum(fresh_cats, axis=1)).mean() < 0.3

    labels = np.stack([cats, np.full_like(cats, -1)], axis=-1).astype(np.float64)
    labels[labels < 0] = NAN  # nothing is known of dogs
    classes, _ = train_steps(
        frozen(), tokenizer(), form("probability"), steps, labels.reshape(-1, 2), config=CONFIG, seed=0
    )
    p = classes.at_reads(classes.steps(fresh)).reshape(-1, 4, 2)[..., 0]
    assert ((p > 0.5) == (fresh_cats == 1)).mean() > 0.95

    pairs = np.arange(256).reshape(-1, 2)
    gap = cats.sum(1)[pairs] @ [1, -1]
    ordered, _ = train_pairs(
        frozen(), tokenizer(), form("score"), table, pairs, np.sign([gap, -gap]).T.astype(float), config=CONFIG, seed=0
    )  # fmt: skip
    scores = ordered.of_table(fresh)
    order = np.corrcoef(scores[:, 0], fresh_cats.sum(1))[0, 1], np.corrcoef(*scores.T)[0, 1]
    assert order[0] > 0.8
    assert order[1] < -0.8


def test_ridge_on_a_frozen_backbone(table_and_cats):
    table, cats = table_and_cats
    model, found = train_ridge(
        llama(),
        tokenizer(),
        RewardForm(objectives=("last",), steps=EveryTokens(), head=LinearHead()),
        table,
        cats[:, -1:].astype(float),
        np.arange(256) % 4 == 0,
    )
    fresh, fresh_cats = replies_with_cats(64, seed=1)
    assert found.r2[0] > 0.95
    assert ((model.of_table(fresh)[:, 0] > 0.5) == (fresh_cats[:, -1] == 1)).mean() == 1.0


def test_a_killed_training_goes_on_bit_for_bit(table_and_cats, tmp_path):
    table, cats = table_and_cats
    steps = ends_only(table)
    targets = np.column_stack([cats.sum(1), -cats.sum(1)]).astype(float)
    config = CONFIG.model_copy(update={"steps": 6, "checkpoint_every": 2, "log_every": 1})

    def train(hooks: Hooks | None = None):
        model = llama().requires_grad_(True)
        return train_values(
            model, tokenizer(), form("value"), steps, targets, config=config, seed=3, hooks=hooks
        )[0]

    class Killed(Exception):
        pass

    def stop(done, total, figures):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        train(Hooks(progress=stop, checkpoints=Checkpoints(tmp_path)))
    resumed, whole = train(Hooks(checkpoints=Checkpoints(tmp_path))), train()
    for a, b in zip(resumed.head.state_dict().values(), whole.head.state_dict().values()):
        assert torch.equal(a, b)
    for a, b in zip(resumed.model.parameters(), whole.model.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize("trained", [False, True])
def test_what_is_stored_loads_to_the_same_numbers(trained, table_and_cats, tmp_path: Path):
    table, cats = table_and_cats
    base = llama()
    base.save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    (tmp_path / "reward").mkdir()
    targets = np.column_stack([cats.sum(1), -cats.sum(1)]).astype(float)
    config = CONFIG.model_copy(update={"steps": 5})
    own, _ = train_values(
        base.requires_grad_(trained), tokenizer(), form("value"), ends_only(table), targets, config=config, seed=0
    )  # fmt: skip
    own.save(tmp_path / "reward", base=model_sha256(tmp_path / "base"))
    loaded = load_reward_model(tmp_path / "reward", tmp_path / "base")
    assert loaded.form == own.form
    prompts, replies = ["the", "the"], [" cat dog cat", " dog"]
    assert np.array_equal(loaded.of_replies(prompts, replies), own.of_replies(prompts, replies))
    assert [len(s) for s in loaded.of_steps(prompts, replies)] == [3, 1]
    spec = {"name": "reward_model", "folder": str(tmp_path / "reward"), "base": str(tmp_path / "base")}
    assert np.array_equal(
        build_reward({**spec, "objective": "dogs"}).score(prompts, replies),
        own.of_replies(prompts, replies)[:, 1],
    )
    llama(seed=1).save_pretrained(tmp_path / "other")
    with pytest.raises(ArtifactError, match="stands on another model"):
        load_reward_model(tmp_path / "reward", tmp_path / "other")


def test_labels_of_another_kind_or_shape_are_refused(table_and_cats):
    table, _ = table_and_cats
    steps = ends_only(table)
    with pytest.raises(ShapeError, match="output is 'value'"):
        train_values(llama(), tokenizer(), form("score"), steps, np.zeros((256, 2)), config=CONFIG, seed=0)
    with pytest.raises(ShapeError, match=r"expected labels of shape \[256, 2\]"):
        train_values(llama(), tokenizer(), form("value"), steps, np.zeros((256, 1)), config=CONFIG, seed=0)
    with pytest.raises(ShapeError, match="linear head"):
        train_ridge(llama(), tokenizer(), form("value"), table, np.zeros((256, 2)), np.zeros(256, bool))


def test_heads_start_small_and_seeded():
    head = build_head(MLPHead(hidden=7), 4, 3, seed=1)
    assert [tuple(p.shape) for p in head.parameters()] == [(7, 4), (7,), (3, 7), (3,)]
    assert all(
        torch.equal(a, b)
        for a, b in zip(head.parameters(), build_head(MLPHead(hidden=7), 4, 3, seed=1).parameters())
    )
    assert float(head[0].weight.detach().abs().max()) < 0.1
    assert float(head[0].bias.detach().abs().max()) == 0.0
