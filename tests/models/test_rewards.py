"""Every registered reward obeys the same laws; each rule against counting by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from pareto.config import Config
from pareto.core.reference import model_sha256
from pareto.errors import ConfigError, DataError, NumericsError, ShapeError, UnknownNameError
from pareto.models.reward_models.heads import build_head
from pareto.models.reward_models.model import RewardForm, RewardModel
from pareto.models.rewards import REWARDS, RewardSpec, build_reward, evaluate, reward
from pareto.models.rewards.readability import count_syllables, reading_ease
from tests.models import tiny

PROMPTS = ["two and two?", "why?", "say nothing"]
REPLIES = ["It is 4. Two and two is 4.", "Because the cat sat on the mat, and the cat sat on the mat.", ""]


@pytest.fixture
def classifier_folder(tmp_path):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_labels=2, id2label={0: "bad", 1: "good"}, pad_token_id=0,
    )  # fmt: skip
    path = tmp_path / "classifier"
    LlamaForSequenceClassification(config).save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def stored_reward_model(tmp_path):
    """Folders of a reward model with a fresh head and of its base."""
    form = RewardForm(objectives=("good",))
    model, folder, base = tiny.llama(), tmp_path / "reward_model", tmp_path / "base"
    folder.mkdir()
    model.save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    head = build_head(form.head, model.config.hidden_size, 1, seed=0)
    RewardModel(model, tiny.tokenizer(), head, form).save(folder, base=model_sha256(base))
    return {"folder": str(folder), "base": str(base)}


@pytest.fixture
def specs(tmp_path, classifier_folder, stored_reward_model):
    """A valid instance of every built-in reward; a new one must be added here to be swept."""
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(
            json.dumps({"question": p, "answer": f"so #### {i + 4}"}) + "\n" for i, p in enumerate(PROMPTS)
        )
    )
    return {
        "regex": {"pattern": "cat"},
        "exact_answer": {"file": str(answers)},
        "classifier": {"model": str(classifier_folder), "label": "good"},
        "reward_model": stored_reward_model,
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETO_CACHE", str(tmp_path / "cache"))


def test_every_reward_obeys_the_laws(specs):
    """One finite number per reply, whatever the order and the company; direction and unit stated; nothing for nothing."""
    for entry in REWARDS:
        scorer = build_reward({"name": entry.name, **specs.get(entry.name, {})}).bind(tiny.tokenizer())
        scores = evaluate(scorer, PROMPTS, REPLIES)
        np.testing.assert_allclose(evaluate(scorer, PROMPTS[::-1], REPLIES[::-1]), scores[::-1], atol=1e-6)
        alone = [evaluate(scorer, [p], [r])[0] for p, r in zip(PROMPTS, REPLIES)]
        np.testing.assert_allclose(alone, scores, atol=1e-6)
        assert evaluate(scorer, [], []).shape == (0,)
        assert scorer.direction in ("max", "min")
        assert scorer.unit
        assert entry.summary.endswith(".")


def score(name, **settings):
    return evaluate(
        build_reward({"name": name, **settings}).bind(tiny.tokenizer()), PROMPTS, REPLIES
    ).tolist()


def test_lengths():
    assert score("characters") == [26, 59, 0]
    assert score("words") == [8, 14, 0]
    ids = tiny.tokenizer()(REPLIES, add_special_tokens=False)["input_ids"]
    assert score("tokens") == [len(i) for i in ids]
    with pytest.raises(ConfigError, match="bind"):
        build_reward({"name": "tokens"}).score(PROMPTS, REPLIES)


def test_repetition():
    # of the 11 word 4-grams of the second reply "the cat sat on" and "cat sat on the" come twice
    assert score("repetition") == pytest.approx([0, 2 / 11, 0])
    # words: It is 4. Two and two is 4. -> "is" and "4." repeat, 6 of 8 are distinct
    assert score("repetition", n=1)[0] == pytest.approx(2 / 8)


def test_readability():
    assert [count_syllables(w) for w in ("cat", "table", "made", "readability", "rhythm", "free")] == [
        1,
        2,
        1,
        5,
        1,
        1,
    ]
    text = "The cat sat. The dog ran away."
    assert reading_ease(text) == pytest.approx(206.835 - 1.015 * 7 / 2 - 84.6 * 8 / 7)
    assert reading_ease("...") == 0.0


def test_regex():
    assert score("regex", pattern=r"^Because.*mat\.$") == [0, 1, 0]


def test_exact_answer(tmp_path, specs):
    assert score("exact_answer", **specs["exact_answer"]) == [1, 0, 0]
    scorer = build_reward({"name": "exact_answer", **specs["exact_answer"]})
    assert evaluate(scorer, ["why?"], ["4, no: 5.0 ... 5"]).tolist() == [1.0]
    with pytest.raises(DataError, match="no answer to 1 prompts"):
        evaluate(scorer, ["unknown"], ["4"])
    (tmp_path / "broken.jsonl").write_text('{"question": "q", "answer": "none"}\n')
    with pytest.raises(DataError, match=r"broken.jsonl:1: expected"):
        score("exact_answer", file=str(tmp_path / "broken.jsonl"))


def test_a_classifier_gives_the_models_own_logits_and_probabilities(classifier_folder):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(classifier_folder).eval()
    tokenizer = tiny.tokenizer()
    want = []
    for p, r in zip(PROMPTS, REPLIES):
        ids = tokenizer(f"Q: {p} A: {r}")["input_ids"]
        with torch.no_grad():
            want.append(model(input_ids=torch.tensor([ids])).logits[0].double())
    form = {"model": str(classifier_folder), "format": "Q: {prompt} A: {reply}", "batch_size": 2}
    np.testing.assert_allclose(score("classifier", label="good", **form), [w[1] for w in want], atol=1e-6)
    np.testing.assert_allclose(
        score("classifier", label=0, output="probability", **form),
        [w.softmax(-1)[0] for w in want],
        atol=1e-6,
    )


def test_a_classifier_is_not_asked_twice(classifier_folder, monkeypatch):
    from pareto.models.rewards.classifier import Classifier

    first = score("classifier", model=str(classifier_folder), label="good")
    monkeypatch.setattr(Classifier, "_compute", lambda self, texts: pytest.fail("it was asked again"))
    assert score("classifier", model=str(classifier_folder), label="good") == first


def test_a_broken_cache_costs_nothing_but_time(classifier_folder, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "scores.db").write_bytes(b"not a database at all, but long enough" * 100)
    assert all(map(math.isfinite, score("classifier", model=str(classifier_folder), label="good")))


def test_a_classifier_without_trained_head_or_label_is_refused(tmp_path, classifier_folder):
    tiny.llama().save_pretrained(tmp_path / "lm")
    tiny.tokenizer().save_pretrained(tmp_path / "lm")
    with pytest.raises(ConfigError, match=r"holds no trained score.weight"):
        score("classifier", model=str(tmp_path / "lm"), label=0)
    with pytest.raises(ConfigError, match=r"needs one label of .*bad, good; got 'goof' .did you mean 'good'"):
        score("classifier", model=str(classifier_folder), label="goof")
    with pytest.raises(ConfigError, match="needs one label"):
        score("classifier", model=str(classifier_folder))


def test_a_function_of_the_users():
    @reward("polite", direction="max", unit="share")
    def polite(prompts, replies):
        """Whether it says please."""
        return [float("please" in r) for r in replies]

    try:
        scorer = build_reward({"name": "polite"})
        assert evaluate(scorer, ["a", "b"], ["yes please", "no"]).tolist() == [1.0, 0.0]
        assert (scorer.unit, REWARDS.entry("polite").summary) == ("share", "Whether it says please.")
    finally:
        REWARDS._entries.pop("polite")


def test_scores_are_checked():
    class Broken(type(build_reward({"name": "words"}))):
        def score(self, prompts, replies):
            return [float("nan")] * len(replies) if prompts[0] == "nan" else [1.0]

    with pytest.raises(NumericsError, match="gave nan for reply 0"):
        evaluate(Broken(), ["nan"], ["text"])
    with pytest.raises(ShapeError, match="one number for each of 2 replies"):
        evaluate(Broken(), ["a", "b"], ["c", "d"])


class Holder(Config):
    reward: RewardSpec


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("wirds", "did you mean 'words'"),
        ({"name": "regex"}, "reward regex.pattern: Field required"),
        ({"name": "regex", "pattern": "("}, "not a regular expression"),
        ({"name": "words", "n": 3}, "reward words.n: Extra inputs are not permitted"),
        ({"name": "exact_answer", "file": "f", "pattern": "x"}, "needs a group"),
        ({"n": 3}, "a reward needs a name"),
        (3, "must be a name or a mapping"),
    ],
)
def test_wrong_settings_are_refused_where_they_are_written(spec, error):
    with pytest.raises((ValueError, UnknownNameError), match=error):
        Holder(reward=spec)


def test_a_name_is_a_spec():
    assert Holder(reward="words").model_dump(mode="json") == {"reward": {"name": "words"}}
