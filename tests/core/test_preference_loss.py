"""From config to objective: sums of losses, modifiers and metrics by hand, parts of examples, the known first loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pareto.config import parse_yaml, validate
from pareto.core.losses.base import PairLogps
from pareto.core.objective import ScoredExamples
from pareto.core.preference_batch import ExampleBatches, TokenRule
from pareto.core.preference_loss import LossConfig, LossTerm, constant_loss, preference_objective
from pareto.data.example_sets import Layout
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ConfigError, DataError, ShapeError
from tests.core.losses.pairs import sigmoid

TABLE = ResponseTable(
    Ragged.of([[1, 2], [3]]),
    Ragged.of([[5, 6, 7], [8], [9, 4], [4, 5, 6, 7]]),
    np.array([0, 0, 1, 1]),
)
POLICY = [-0.5, -1.0, -0.2, -3.0, -0.7, -0.9, -1.1, -0.3, -0.2, -2.0]
REF = [-0.6, -0.8, -0.4, -2.0, -0.7, -1.9, -1.0, -0.5, -0.6, -1.0]
EXAMPLES = np.array([[0, 1], [3, 2]])  # lengths 3 against 1, and 4 against 2


def tokens_of(values, response):
    return [
        values[i] for i in range(TABLE.responses.offsets[response], TABLE.responses.offsets[response + 1])
    ]


def scored(values, examples=EXAMPLES, index=None, extras=(), table=TABLE):
    """What the core makes of these token log-probabilities, written out."""
    index = list(range(len(examples))) if index is None else index
    flat, owner, lengths, where = [], [], [], []
    for i in index:
        for r in examples[i]:
            span = range(int(table.responses.offsets[r]), int(table.responses.offsets[r + 1]))
            flat += [values[t] for t in span]
            owner += [len(lengths)] * len(span)
            where += list(span)
            lengths.append(len(span))
    tokens = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
    owner = torch.tensor(owner)
    shape = len(index), examples.shape[1]
    sums = torch.zeros(len(lengths), dtype=torch.float64).index_add(0, owner, tokens).view(shape)
    columns = {
        name: torch.tensor([v[t] for t in where], dtype=torch.float64) for name, v in dict(extras).items()
    }
    return ScoredExamples(
        tokens, owner, sums, torch.tensor(lengths).float().view(shape), torch.tensor(index), columns
    )


def losses(config, *, values=POLICY, columns=None, extras=(), **more):
    objective, _ = preference_objective(config, TABLE, EXAMPLES, np.array(REF), columns, **more)
    loss, metrics = objective.loss(scored(values, extras=extras))
    return loss.tolist(), {name: value.tolist() for name, value in metrics.items()}


def config(*terms, **more):
    return LossConfig(
        terms=tuple(LossTerm(**t) if isinstance(t, dict) else LossTerm(name=t) for t in terms), **more
    )


def softplus(x):
    return math.log1p(math.exp(-x))


def test_a_weighted_sum_of_losses():
    """Log-probabilities by hand: example 0 -1.7 (ref -1.8) against -3 (-2); example 1 -3.6 (-3.1) against -1.6 (-2.6)."""
    got, metrics = losses(config({"name": "dpo", "hyper": {"beta": 0.5}}, {"name": "sft", "weight": 0.3}))
    gaps = [(-1.7 + 1.8) - (-3.0 + 2.0), (-3.6 + 3.1) - (-1.6 + 2.6)]
    likelihood = [1.7 / 3, 3.6 / 4]
    want = [softplus(0.5 * g) + 0.3 * nll for g, nll in zip(gaps, likelihood)]
    assert got == pytest.approx(want)
    assert metrics["loss/dpo"] == pytest.approx([softplus(0.5 * g) for g in gaps])
    assert metrics["loss/sft"] == pytest.approx(likelihood)


def test_metrics_have_their_known_names_and_values():
    _, metrics = losses(
        config({"name": "dpo", "hyper": {"beta": 0.5}}), columns={"target": np.array([0.9, 0.6])}
    )
    want = {
        "rewards/chosen": [0.05, -0.25],
        "rewards/rejected": [-0.5, 0.5],
        "rewards/margins": [0.55, -0.75],
        "rewards/accuracies": [1, 0],
        "ranking_accuracy": [1, 0],
        "logps/chosen": [-1.7, -3.6],
        "logps/rejected": [-3.0, -1.6],
        # 0.2 + log(9) / 0.5 > 0; -0.5 + log(1.5) / 0.5 = 0.31 > 0
        "idealised_ranking_accuracy": [1, 1],
        "flips/gained": [0, 0],
        "flips/lost": [0, 0],
    }
    assert metrics.keys() == want.keys()
    for name, values in want.items():
        assert metrics[name] == pytest.approx(values, abs=1e-6), name


def test_flips_and_ideals_against_the_reference():
    """The reference ranks example 0 right and 1 wrong (-3.1 against -2.6); a policy that swaps both gains one, loses one."""
    values = [-2.0, -2.0, -2.0, -1.0, -2.0, -2.0, -0.1, -0.1, -0.1, -0.1]
    _, metrics = losses(config({"name": "dpo", "hyper": {"beta": 10.0}}, confidence=0.6), values=values)
    assert metrics["flips/gained"] == [0, 1]
    assert metrics["flips/lost"] == [1, 0]
    assert metrics["idealised_ranking_accuracy"] == [1, 0]  # -0.5 + log(1.5) / 10 < 0


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_length_desensitised_dpo(alpha):
    """Tokens past the shorter length (1 and 2) count alpha, in policy and reference alike."""

    def weighed(values, response, shared):
        return sum(v if t < shared else alpha * v for t, v in enumerate(tokens_of(values, response)))

    want = []
    for (c, r), shared in zip(EXAMPLES, (1, 2)):
        gap = (
            weighed(POLICY, c, shared)
            - weighed(REF, c, shared)
            - weighed(POLICY, r, shared)
            + weighed(REF, r, shared)
        )
        want.append(softplus(0.1 * gap))
    assert losses(config("dpo", ld_alpha=alpha))[0] == pytest.approx(want)


def test_nothing_is_desensitised_at_alpha_one():
    assert losses(config("dpo", ld_alpha=1.0))[0] == pytest.approx(losses(config("dpo"))[0])


def test_length_normalised_dpo():
    want = []
    for c, r in EXAMPLES:
        gap = (sum(tokens_of(POLICY, c)) - sum(tokens_of(REF, c))) / len(tokens_of(REF, c))
        gap -= (sum(tokens_of(POLICY, r)) - sum(tokens_of(REF, r))) / len(tokens_of(REF, r))
        want.append(softplus(2.0 * gap))
    assert losses(config({"name": "dpo", "hyper": {"beta": 2.0}}, average=True))[0] == pytest.approx(want)


def test_averages_are_not_averaged_twice():
    plain, twice = losses(config("simpo"))[0], losses(config("simpo", average=True))[0]
    assert twice == pytest.approx(plain)


def test_wpo_weighs_every_pair_by_how_likely_the_policy_wrote_it():
    extra = [0.1 * (i % 4) - 0.4 for i in range(10)]  # log sum p^2 of each token
    plain = losses(config("dpo"))[0]
    got, metrics = losses(config("dpo", wpo=True), extras={"log_sum_squared_probs": extra})
    weights = []
    for pair in EXAMPLES:
        means = [np.mean(np.array(tokens_of(POLICY, r)) - np.array(tokens_of(extra, r))) for r in pair]
        weights.append(math.exp(sum(means)))
    assert metrics["wpo_weight"] == pytest.approx(weights)
    assert got == pytest.approx([a * b for a, b in zip(plain, weights)])


def test_pairs_have_weights_and_margins():
    columns = {"weight": np.array([2.0, 0.5]), "margin": np.array([0.3, -0.2])}
    got, _ = losses(config({"name": "modpo", "hyper": {"objective_weight": 0.5}}), columns=columns)
    want = [2.0 * softplus((0.1 * 1.1 - 0.3) / 0.5), 0.5 * softplus((0.1 * -1.5 + 0.2) / 0.5)]
    assert got == pytest.approx(want)


def test_rows_go_by_index_and_not_by_place():
    objective, _ = preference_objective(config("dpo"), TABLE, EXAMPLES, np.array(REF))
    whole = objective.loss(scored(POLICY))[0].tolist()
    assert objective.loss(scored(POLICY, index=[1]))[0].tolist() == pytest.approx(whole[1:])
    assert objective.loss(scored(POLICY, index=[1, 0]))[0].tolist() == pytest.approx(whole[::-1])


def test_token_columns_are_gathered_for_losses_that_want_them():
    objective, _ = preference_objective(config("dpo"), TABLE, EXAMPLES, np.array(REF))
    assert objective.loss._batches(scored(POLICY)).chosen_token_logps is None
    batches = ExampleBatches(
        PairLogps, TABLE, EXAMPLES, np.array(REF), {}, Layout(), TokenRule(), tokens=True
    )
    pairs = batches(scored(POLICY, index=[1, 0]))
    for got, values, side in (
        (pairs.chosen_token_logps, POLICY, 0),
        (pairs.rejected_token_logps, POLICY, 1),
        (pairs.ref_chosen_token_logps, REF, 0),
        (pairs.ref_rejected_token_logps, REF, 1),
    ):
        want = [tokens_of(values, EXAMPLES[i, side]) for i in (1, 0)]
        want = [row + [0.0] * (4 - len(row)) for row in want]
        np.testing.assert_allclose(got.detach().numpy(), want, atol=1e-7)


def test_context_is_not_scored():
    """Leading tokens that belong to the prompt change nothing: neither sums nor lengths nor what LD-DPO shares."""
    longer = ResponseTable(
        TABLE.prompts, Ragged.of([[5, 6, 7], [9, 9, 8], [9, 9, 4], [4, 5, 6, 7]]), TABLE.prompt_of
    )
    layout = Layout(context=np.array([0, 2, 1, 0]))

    def with_context(values):
        return [*values[:3], -7.0, -8.0, values[3], -9.0, *values[4:6], *values[6:]]

    for options in ({}, {"average": True}, {"ld_alpha": 0.5}):
        want, _ = losses(config("dpo", "simpo", **options))
        objective, _ = preference_objective(
            config("dpo", "simpo", **options), longer, EXAMPLES, np.array(with_context(REF)), layout=layout
        )
        got = objective.loss(scored(with_context(POLICY), table=longer))[0]
        assert got.tolist() == pytest.approx(want), options


def test_single_responses_and_their_baseline():
    """z is the mean log-ratio of the mismatched responses, -1 and 1 here."""
    columns = {"label": np.array([1.0, 0.0])}
    objective, first = preference_objective(config("kto"), TABLE, EXAMPLES, np.array(REF), columns)
    assert objective.coupled
    loss, metrics = objective.loss(scored(POLICY))
    assert loss.tolist() == pytest.approx([1 - sigmoid(0.1 * 0.1), 1 - sigmoid(0.1 * 0.5)])
    other = EXAMPLES[:, ::-1].copy()
    objective, _ = preference_objective(config("kto"), TABLE, other, np.array(REF), columns)
    # own log-ratios -1 and 1, baseline ((-1.7 + 1.8) + (-3.6 + 3.1)) / 2 = -0.2 -> 0
    loss, metrics = objective.loss(scored(POLICY, other))
    assert loss.tolist() == pytest.approx([1 - sigmoid(-0.1), 1 - sigmoid(-0.1)])
    assert metrics["kl"] == pytest.approx([-0.2] * 2, abs=1e-6)
    assert metrics["rewards/chosen"] == pytest.approx(
        [2 * -0.1, 0.0], abs=1e-7
    )  # half of the data are desirable
    assert metrics["rewards/accuracies"].tolist() == [0, 0]
    assert constant_loss(first) == pytest.approx(0.5)


def test_without_mismatched_responses_there_is_no_baseline():
    objective, _ = preference_objective(
        config("kto"), TABLE, EXAMPLES[:, :1], np.array(REF), {"label": np.array([1.0, 1.0])}
    )
    assert not objective.coupled
    loss, _ = objective.loss(scored(POLICY, EXAMPLES[:, :1]))
    assert loss.tolist() == pytest.approx([1 - sigmoid(0.01), 1 - sigmoid(-0.05)])


def test_the_first_loss_is_known():
    def first(*terms, **more):
        return preference_objective(config(*terms, **more), TABLE, EXAMPLES, np.array(REF))[1]

    assert constant_loss(first("dpo")) == pytest.approx(math.log(2))
    assert constant_loss(first("dpo", {"name": "mass_anchor", "weight": 0.5})) == pytest.approx(
        math.log(2) - 0.5
    )
    assert constant_loss(first("dpo", ld_alpha=0.3, average=True)) == pytest.approx(math.log(2))
    assert constant_loss(first("aot")) == constant_loss(first("aot_unpaired")) == pytest.approx(math.log(2))
    assert first("sft").tolist() == pytest.approx([1.8 / 3, 3.1 / 4])
    assert constant_loss(first("sft")) is None
    assert first("dpo", wpo=True) is None
    free, known = preference_objective(config("simpo"), TABLE, EXAMPLES, None)
    assert known is None
    assert "rewards/chosen" not in free.loss(scored(POLICY))[1]


def test_the_first_loss_of_many_examples(monkeypatch):
    monkeypatch.setattr("pareto.core.preference_loss.BLOCK", 2)
    monkeypatch.setattr("pareto.core.preference_batch.BLOCK", 2)
    examples = EXAMPLES[[0, 1, 1, 0, 1]]
    objective, first = preference_objective(config("sft", "dpo"), TABLE, examples, np.array(REF))
    want = [0.6 + math.log(2) if i in (0, 3) else 0.775 + math.log(2) for i in range(5)]
    assert first.tolist() == pytest.approx(want)
    loss, _ = objective.loss(scored(REF, examples))
    assert loss.tolist() == pytest.approx(want)


def test_labels_that_move_are_state_of_the_objective():
    objective, first = preference_objective(
        config({"name": "power_dl", "hyper": {"gamma": 0.5, "beta": 1.0}}), TABLE, EXAMPLES, np.array(REF)
    )
    labels = objective.module.state_dict()["power_dl.labels"]
    assert labels.tolist() == [1.0, 1.0]  # working out the first loss has moved nothing
    assert first is not None
    with torch.no_grad():
        objective.loss(scored(POLICY, index=[1]))
    assert labels.tolist() == [1.0, 1.0]
    objective.loss(scored(POLICY, index=[1]))
    won = sigmoid((-3.6 + 1) / 4 - (-1.6 + 1) / 2)
    assert labels.tolist() == pytest.approx([1.0, 0.5 + 0.5 * won])


@pytest.mark.parametrize(
    ("terms", "more", "message"),
    [
        (["dpoo"], {}, r"unknown loss 'dpoo' \(did you mean 'dpo'"),
        ([{"name": "dpo", "hyper": {"betta": 1.0}}], {}, r"no hyper-parameter 'betta' \(did you mean 'beta'"),
        ([{"name": "sft", "hyper": {"average": 3.0}}], {}, "average of loss 'sft'"),
        ([{"name": "fdpo", "hyper": {"divergence": "tv"}}], {}, "divergence of loss 'fdpo'"),
        ([{"name": "power_dl", "hyper": {"gama": 1.0}}], {}, "did you mean 'gamma'"),
        ([{"name": "dpo", "weight": 0.0}], {}, "greater than 0"),
        ([{"name": "dpo", "hyper": {"beta": 0.0}}], {}, "beta of loss 'dpo' must be > 0"),
        (["dpo", "kto"], {}, r"dpo \(PairLogps\), kto \(UnpairedLogps\)"),
        (["kto"], {"ld_alpha": 0.5}, "ld_alpha"),
        (["aot"], {"wpo": True}, "by rank"),
        (["coipo"], {"wpo": True}, "wpo"),
        ([], {}, "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(terms, more, message):
    with pytest.raises((ValidationError, ConfigError), match=message):
        config(*terms, **more)


@pytest.mark.parametrize(
    ("terms", "columns", "ref", "error", "message"),
    [
        (["dpo"], {}, None, DataError, "'dpo' needs the reference"),
        (["dpo"], {}, np.zeros(3), ShapeError, "each of 10 response tokens"),
        (["dpo"], {"weigth": np.ones(2)}, np.array(REF), DataError, "did you mean 'weight'"),
        (["dpo"], {"weight": np.ones(3)}, np.array(REF), ShapeError, r"must be \[2\]"),
        (["kto"], {}, np.array(REF), DataError, "'label'"),
        (["coipo"], {}, None, DataError, "'clean'"),
        (["rationale"], {}, np.array(REF), DataError, "needs 'rationale_logps'"),
        (["sparsepo"], {}, np.array(REF), ConfigError, "live reference"),
        (["spo_degree"], {}, np.array(REF), ConfigError, "degraded_examples"),
    ],
)
def test_what_is_missing_is_said_before_training(terms, columns, ref, error, message):
    with pytest.raises(error, match=message):
        preference_objective(config(*terms), TABLE, EXAMPLES, ref, columns)


def test_a_part_beyond_the_responses_is_refused():
    with pytest.raises(DataError, match="'pair'"):
        preference_objective(config("dpo"), TABLE, EXAMPLES, np.array(REF), layout=Layout({"pair": (0, 2)}))


def test_a_loss_may_stand_in_a_sum_twice():
    terms = ({"name": "dpo", "hyper": {"beta": b}} for b in (0.1, 1.0))
    got, metrics = losses(config(*terms))
    assert got == pytest.approx([a + b for a, b in zip(metrics["loss/dpo"], metrics["loss/dpo_1"])])


YAML = """
terms:
  - {name: dpo, weight: 0.8, hyper: {beta: 1}}
  - {name: sft, hyper: {average: false}}
ld_alpha: 0.5
report: [entropy]
"""


def test_a_config_file_says_it_all():
    read = validate(LossConfig, parse_yaml(YAML))
    assert read.kind is PairLogps
    assert read.beta == 1.0
    assert [(t.name, t.weight, dict(t.hyper)) for t in read.terms] == [
        ("dpo", 0.8, {"beta": 1}),
        ("sft", 1.0, {"average": False}),
    ]
    assert LossConfig.model_validate_json(read.model_dump_json()) == read
    assert [t.name for t in LossConfig().terms] == ["dpo"]


def test_a_wrong_word_in_a_config_file_is_found():
    with pytest.raises(ConfigError, match=r"loss.yaml:3: .*no hyper-parameter 'betta' \(did you mean 'beta'"):
        validate(LossConfig, parse_yaml(YAML.replace("beta:", "betta:"), "loss.yaml"))
