"""The text task on a tiny model and synthetic rows: splits, labels, reference, scores against counting by hand."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest
import torch

from pareto.cells import FitContext
from pareto.core.logps import response_logps, sums
from pareto.data import pairs as pairs_module
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.data.rows import ReadRule
from pareto.errors import ArtifactError, ConfigError, DataError, ObjectiveError
from pareto.models.adapters import LoRA, attach, save_policy
from pareto.models.reply_facts import distinct_2, entropies_and_divergences
from pareto.objectives import Objectives
from pareto.study.config import load_study
from pareto.tasks import TASKS
from pareto.tasks.protocol import PreferenceTask
from pareto.tasks.text import Text
from pareto.tasks.text import task as text_task
from pareto.tasks.text.data import SplitConfig
from pareto.tasks.text.reference import pairs_file
from pareto.tasks.text.scoring import complete, score_pairs, wins
from tests.models import tiny

SIZES = {"hidden": 32, "layers": 2, "heads": 2, "vocab_size": 300, "max_positions": 96}


def rows():
    """40 prompts with four replies of different length; `good` prefers replies that speak of cats."""
    out = []
    for i in range(40):
        words = tiny.TEXTS[i % len(tiny.TEXTS)].split()
        replies = [" ".join(words[: n + i % 3]) + (" cat" if n % 4 else "") for n in (2, 4, 5, 8)]
        scores = [{"good": float("cat" in r.split()) + 0.1 * len(r) / 50} for r in replies]
        out.append({"prompt": f"tell {i} {words[0]}", "responses": replies, "scores": scores})
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows()))
    return path


def task(path, **changes):
    settings = {
        "data": [str(path)],
        "objectives": ["good", {"name": "brief", "derive": "characters", "tie_share": 0.1}],
        "from_config": SIZES,
        "prompt_format": "{prompt}:",
        "limits": {"prompt_tokens": 24, "response_tokens": 40},
        "split": {"selection": 0.2, "heldout": 0.3},
        "sft": {"on": "all", "training": {"steps": 6, "batch_size": 8, "lr": 3e-3}},
        "generation": {"prompts": 4, "sampling": {"max_new_tokens": 8}},
    }
    return Text.model_validate_json(json.dumps(settings | changes))


@pytest.fixture(scope="module")
def built(data, tmp_path_factory):
    """(task, reference folder)."""
    own, folder = task(data), tmp_path_factory.mktemp("reference")
    build(own, folder)
    return own, folder


def build(own, folder, scratch=None):
    scratch = scratch or folder.parent / f"{folder.name}-scratch"
    scratch.mkdir(exist_ok=True)
    return own.build("reference", own.prerequisites()["reference"], FitContext(folder, scratch))


def policy(own, folder, where, *, move=0.3, adapter=None):
    """A policy near the reference: LoRA with random factors, or moved weights."""
    model, _ = own.load_reference(folder, "cpu", "float32")
    torch.manual_seed(1)
    if adapter is not None:
        model = attach(model, adapter, seed=0)
    for p in model.parameters():
        if p.requires_grad or adapter is None:
            p.data += move * p.data.std().clamp(min=0.02) * torch.randn_like(p)
    kind = save_policy(model, where)
    return model.eval(), kind


def test_it_is_a_registered_preference_task(built):
    assert TASKS.get("text") is Text
    assert isinstance(built[0], PreferenceTask)
    assert built[0].objectives == Objectives(built[0].objectives)
    assert [o.unit for o in built[0].objectives] == ["accuracy", "accuracy"]
    assert built[0].exact([], np.zeros(2), {}) is None


def test_a_study_reads_it_and_writes_it_back(data):
    study = load_study(
        {
            "study": "s",
            "task": {"kind": "text", "data": [str(data)], "model": "some/model", "objectives": ["good"]},
            "method": {"name": "modpo"},
        }
    )
    assert load_study(study.to_json()).sha256 == study.sha256


def test_parts_share_no_prompt_and_stay_when_data_grow(data, tmp_path):
    split = SplitConfig(selection=0.2, heldout=0.3)
    prompts = [f"prompt {i}" for i in range(4000)]
    parts = [split.part_of(p) for p in prompts]
    share = {p: parts.count(p) / len(parts) for p in set(parts)}
    assert share == pytest.approx({"train": 0.5, "selection": 0.2, "heldout": 0.3}, abs=0.03)
    assert split.part_of("  PROMPT \n 7") == split.part_of("prompt 7")
    assert [SplitConfig(seed=1, selection=0.2, heldout=0.3).part_of(p) for p in prompts] != parts
    own = task(data)
    divided = own.split.divide(own.read()[0])
    seen = [set(part.prompts) for part in divided.values()]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 40


def test_the_reference_folder_holds_what_the_rows_say(built):
    own, folder = built
    pairs = own.load_pairs(folder)
    _, tokenizer = own.load_reference(folder, "cpu", "float32")
    by_prompt = {f"{r['prompt']}:": r for r in rows()}
    text = [tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs.table.responses]
    prompt = [tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs.table.prompts]
    rewards = own.load_rewards(folder)
    for a, b, (good, brief) in zip(pairs.a, pairs.b, pairs.labels):
        row = by_prompt[prompt[pairs.table.prompt_of[a]]]
        score = {r: s["good"] for r, s in zip(row["responses"], row["scores"])}
        assert good == np.sign(np.float32(score[text[a]]) - np.float32(score[text[b]]))
        gap = len(text[b]) - len(text[a])
        assert brief == (np.sign(gap) if abs(gap) > 0.1 * max(len(text[a]), len(text[b])) else 0)
        np.testing.assert_allclose(rewards[a], [score[text[a]], -len(text[a])], rtol=1e-6)
    assert {own.split.part_of(p.removesuffix(":")) for p in prompt} == {"train"}


def test_the_same_seed_gives_the_same_reference(built, tmp_path):
    own, folder = built
    again = tmp_path / "again"
    again.mkdir()
    build(own, again)
    assert {p.name for p in again.iterdir()} == {p.name for p in folder.iterdir()}
    for path in folder.iterdir():
        if path.suffix != ".npz":  # zip files carry dates
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_data_beyond_memory_give_the_same_reference(built, tmp_path, monkeypatch):
    own, folder = built
    monkeypatch.setattr(text_task, "ReadRule", functools.partial(ReadRule, spool_bytes=0))
    monkeypatch.setattr(pairs_module, "STORE_IDS", 10)
    streamed, scratch = tmp_path / "reference", tmp_path / "scratch"
    streamed.mkdir()
    build(own, streamed, scratch)
    assert (scratch / "texts" / "responses.texts").stat().st_size > 0
    assert (streamed / "pairs.tokens" / "manifest.json").is_file()
    for name in ("reference.json", "prompts.json", "baselines.json", "model.safetensors"):
        assert (streamed / name).read_bytes() == (folder / name).read_bytes(), name
    assert own.load_pairs(streamed).table.sha256() == own.load_pairs(folder).table.sha256()
    assert {p.name for p in folder.glob("logps-*")} == {p.name for p in streamed.glob("logps-*")}


def test_fine_tuning_learned_something(built):
    own, folder = built
    model, _ = own.load_reference(folder, "cpu", "float32")
    table = own.load_pairs(folder).table
    trained = response_logps(model, table).mean()
    fresh = response_logps(own._start(own.split.divide(own.read()[0])["train"])[0], table).mean()
    assert trained > fresh + 0.3


def test_the_id_of_the_reference_depends_on_content_and_not_on_measuring(data, tmp_path):
    own = task(data)
    cell = own.prerequisites()["reference"]
    copy = tmp_path / "rows.jsonl"
    shutil.copy(data, copy)
    assert task(data, generation={"prompts": 2}).prerequisites()["reference"].id == cell.id
    rewarded = [
        {"name": "good", "reward": "words"},
        {"name": "brief", "derive": "characters", "tie_share": 0.1, "reward": "characters"},
    ]
    assert task(data, objectives=rewarded).prerequisites()["reference"].id == cell.id
    assert task(data, seed=1).prerequisites()["reference"].id != cell.id
    before = task(copy).prerequisites()["reference"].id
    copy.write_text(copy.read_text().replace("tell 0", "tell zero"))
    assert task(copy).prerequisites()["reference"].id != before


def by_hand(pairs, ratio):
    """[n, m] accuracy per instruction, by loops."""
    out = []
    for prompt in range(len(pairs.table.prompts)):
        row = []
        for j in range(len(pairs.objectives)):
            right = []
            for a, b, label in zip(pairs.a, pairs.b, pairs.labels[:, j]):
                if pairs.table.prompt_of[a] == prompt and label not in (0,) and label == label:
                    gap = (ratio[a] - ratio[b]) * label
                    right.append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
            row.append(np.mean(right) if right else np.nan)
        out.append(row)
    return np.array(out)


@pytest.mark.parametrize("adapter", [LoRA(r=4), None], ids=["adapter", "whole model"])
def test_scores_are_accuracies_per_held_out_instruction(built, tmp_path, adapter):
    own, folder = built
    model, kind = policy(own, folder, tmp_path, adapter=adapter)
    scores = own.score(tmp_path, kind, None, "heldout", {"reference": folder})
    pairs = PreferencePairs.load(folder / pairs_file("heldout"))
    reference, _ = own.load_reference(folder, "cpu", "float32")
    ratio = sums(pairs.table, response_logps(model, pairs.table)) - sums(
        pairs.table, response_logps(reference, pairs.table)
    )
    want = by_hand(pairs, ratio)
    np.testing.assert_allclose(scores.values, want[~np.isnan(want).all(axis=1)], atol=1e-12)
    assert scores.split == "heldout"
    assert 0.0 < scores.values.mean() < 1.0
    assert scores.facts["pairs"]["brief"]["accuracy"] == pytest.approx(np.nanmean(want[:, 1]))
    assert scores.facts["kl_nats"] > 1e-3
    assert set(scores.facts["text"]) >= {"length_tokens", "entropy_nats", "distinct_2"}
    assert scores.cost.generated_tokens == pytest.approx(scores.facts["text"]["length_tokens"] * 4)
    chosen = own.score(tmp_path, kind, None, "selection", {"reference": folder})
    assert "text" not in chosen.facts
    assert not set(chosen.unit_ids) & set(scores.unit_ids)


def test_the_reference_itself_scores_one_half(built, tmp_path):
    own, folder = built
    model, _ = own.load_reference(folder, "cpu", "float32")
    kind = save_policy(attach(model, LoRA(r=2), seed=0), tmp_path)
    scores = own.score(tmp_path, kind, None, "heldout", {"reference": folder})
    np.testing.assert_array_equal(scores.values, 0.5)
    assert abs(scores.facts["kl_nats"]) < 1e-6


def test_rewards_score_generated_replies(built, data, tmp_path):
    own, folder = built
    objectives = [
        {"name": "good", "reward": {"name": "regex", "pattern": "t"}},
        {"name": "brief", "derive": "characters", "tie_share": 0.1, "reward": "characters"},
    ]
    rewarded = task(data, objectives=objectives)
    assert [(o.direction, o.unit) for o in rewarded.objectives] == [("max", "share"), ("min", "characters")]
    _, kind = policy(own, folder, tmp_path)
    scores = rewarded.score(tmp_path, kind, None, "heldout", {"reference": folder})
    samples = rewarded.samples(tmp_path, kind, {"reference": folder}, 4)
    assert scores.values.shape == (4, 2)
    np.testing.assert_array_equal(scores.values[:, 1], [len(s["response"]) for s in samples])
    np.testing.assert_array_equal(scores.values[:, 0], ["t" in s["response"] for s in samples])
    assert samples[0]["rewards"] == rewarded.objectives.named(scores.values[0])
    again = rewarded.score(tmp_path, kind, None, "heldout", {"reference": folder})
    np.testing.assert_array_equal(again.values, scores.values)


def test_sharpened_replies_say_nothing_about_the_divergence(built, data, tmp_path):
    own, folder = built
    cold = task(data, generation={"prompts": 2, "sampling": {"max_new_tokens": 4, "temperature": 0.5}})
    _, kind = policy(own, folder, tmp_path)
    assert "kl_nats" not in cold.score(tmp_path, kind, None, "heldout", {"reference": folder}).facts


def test_entropy_and_divergence_are_those_of_the_distributions():
    model, reference = tiny.llama(1), tiny.llama(2)
    table = ResponseTable(Ragged.of([[1, 5], [1, 9, 8]]), Ragged.of([[20, 30, 2], [40, 2]]), np.array([0, 1]))
    entropy, divergence = entropies_and_divergences(model, table, reference, batch_tokens=6)
    want = []
    for prompt, reply in (([1, 5], [20, 30, 2]), ([1, 9, 8], [40, 2])):
        ids = torch.tensor([prompt + reply])
        with torch.no_grad():
            p, q = (
                m(input_ids=ids).logits[0].double().log_softmax(-1)[len(prompt) - 1 : -1]
                for m in (model, reference)
            )
        want.append(torch.stack([-(p.exp() * p).sum(-1), (p.exp() * (p - q)).sum(-1)]))
    np.testing.assert_allclose(np.stack([entropy, divergence]), torch.cat(want, dim=1), rtol=1e-4, atol=1e-6)


def test_the_divergence_estimate_is_that_of_whole_replies():
    """Mean over sampled replies against the sum over all replies of two tokens."""
    from pareto.models.generate import Sampling, generate_ids

    model, reference = tiny.llama(1), tiny.llama(2)
    for m in (model, reference):
        for p in m.parameters():
            p.data *= 2
    prompt = [1, 5]
    with torch.no_grad():
        first = [
            m(input_ids=torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
            for m in (model, reference)
        ]
        every = torch.tensor([[*prompt, t] for t in range(300)])
        second = [m(input_ids=every).logits[:, -1].double().log_softmax(-1) for m in (model, reference)]
    joint = [f[:, None] + s for f, s in zip(first, second)]
    exact = float((joint[0].exp() * (joint[0] - joint[1])).sum())
    ids = generate_ids(
        model, [prompt] * 3000, Sampling(max_new_tokens=2, batch_size=3000), ends=frozenset(), pad=0, seed=1
    )
    table = ResponseTable(Ragged.of([prompt] * 3000), Ragged.of(ids), np.arange(3000))
    divergence = sums(table, entropies_and_divergences(model, table, reference)[1])
    assert divergence.mean() == pytest.approx(exact, abs=4 * divergence.std() / np.sqrt(3000))


def test_distinct_2():
    assert distinct_2(["a b a b", "a b"]) == 2 / 4
    assert distinct_2(["a"]) == 0.0


def test_missing_labels_change_neither_mean_nor_interval():
    rng = np.random.default_rng(0)
    values = rng.random((50, 2))
    np.testing.assert_allclose(complete(values), values)
    values[10:, 1] = np.nan
    whole = complete(values)
    np.testing.assert_allclose(whole.mean(axis=0), np.nanmean(values, axis=0))
    # standard error of a mean of 10 of 50 units: their own, up to 1/n against 1/(n - 1)
    known = values[:10, 1]
    error = whole[:, 1].std() / np.sqrt(50)
    assert error == pytest.approx(known.std() / np.sqrt(10))


def test_wins_of_equal_scores_are_halves():
    assert wins(np.array([2.0, 0.0, -1e-9])).tolist() == [1.0, 0.5, 0.0]


def test_an_objective_without_labels_on_some_instructions():
    table = ResponseTable(Ragged.of([[1], [1], [1]]), Ragged.of([[3]] * 6), np.array([0, 0, 1, 1, 2, 2]))
    labels = np.float32([[1, np.nan], [np.nan, -1], [0, 0]])
    pairs = PreferencePairs(Objectives(["x", "y"]), table, np.array([0, 2, 4]), np.array([1, 3, 5]), labels)
    scores = score_pairs(pairs, np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0]), np.zeros(6))
    assert scores.units.tolist() == [0, 1]
    np.testing.assert_allclose(scores.values.mean(axis=0), [1.0, 0.0])
    assert scores.facts["y"]["instructions"] == 1


def test_baselines_see_length_and_words(built):
    found = json.loads((built[1] / "baselines.json").read_text())
    assert found["brief"]["length"]["accuracy"] == 1.0
    assert found["brief"]["longer_wins"] == 0.0
    assert found["good"]["words"]["accuracy"] > 0.9  # the word cat decides
    low, high = found["good"]["words"]["ci95"]
    assert low <= found["good"]["words"]["accuracy"] <= high


def test_an_existing_adapter_is_kept_by_the_reference(data, tmp_path):
    from peft import LoraConfig, get_peft_model

    base = tmp_path / "base"
    model = tiny.llama()
    model.save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    torch.manual_seed(3)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    want = adapted.eval()(input_ids=torch.tensor([[1, 9, 9]])).logits
    own = task(data, from_config=None, sft=None, model=str(base), adapter=str(tmp_path / "adapter"))
    (tmp_path / "out").mkdir()
    build(own, tmp_path / "out")
    reference, _ = own.load_reference(tmp_path / "out", "cpu", "float32")
    torch.testing.assert_close(
        reference(input_ids=torch.tensor([[1, 9, 9]])).logits, want, atol=1e-4, rtol=1e-4
    )


def test_low_rank_fine_tuning_is_merged_into_the_reference(data, tmp_path):
    sft = {
        "on": "chosen",
        "training": {"steps": 4, "batch_size": 8, "lr": 1e-2},
        "adapter": {"kind": "lora", "r": 4},
    }
    own = task(data, sft=sft)
    build(own, tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    reference, _ = own.load_reference(tmp_path, "cpu", "float32")
    table = own.load_pairs(tmp_path).table
    fresh, _ = own._start(own.split.divide(own.read()[0])["train"])
    assert response_logps(reference, table).mean() > response_logps(fresh, table).mean() + 0.01


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"data": ["/no/such/file.jsonl"]}, DataError, "is not there; looked for"),
        ({"objectives": ["goed"]}, ObjectiveError, "did you mean 'good'"),
        ({"split": {"selection": 0.001, "heldout": 0.3}}, DataError, "selection part holds 0 of 40 prompts"),
        ({"limits": {"prompt_tokens": 90, "response_tokens": 40}}, DataError, "the model has 96 positions"),
        ({"from_config": None, "sft": None, "model": "/no/model"}, ConfigError, "no model folder"),
        ({"prompt_format": "no place"}, DataError, "hold .prompt. once"),
    ],
)
def test_what_cannot_be_built_is_said(data, tmp_path, changes, error, reason):
    with pytest.raises(error, match=reason):
        build(task(data, **changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"from_config": None}, "give one of model"),
        ({"sft": None}, "give it sft"),
        ({"adapter": "x"}, "belong to a model"),
        (
            {"objectives": [{"name": "a", "reward": "words"}, "b"]},
            "give every objective a reward, or none; objective 'b'",
        ),
        ({"objectives": [{"name": "a", "reward": "wurds"}]}, "did you mean 'words'"),
        ({"objectives": [{"name": "a", "labell": "x"}]}, "labell: Extra inputs"),
        ({"objectives": [{"name": "a", "direction": "min"}]}, "direction belongs to a reward"),
        ({"objectives": [{"name": "a", "label": "x", "derive": "words"}]}, "not both"),
        ({"objectives": "good"}, "expected a list of objectives"),
        ({"split": {"selection": 0.5, "heldout": 0.6}}, "must be below 1"),
    ],
)
def test_configurations_that_cannot_be(data, changes, reason):
    with pytest.raises((ValueError, ObjectiveError), match=reason):
        task(data, **changes)


def test_a_reference_folder_without_its_log_probabilities_is_broken(built, tmp_path):
    own, folder = built
    _, kind = policy(own, folder, tmp_path / "policy")
    shutil.copytree(folder, tmp_path / "reference")
    for path in (tmp_path / "reference").glob("logps-*"):
        path.unlink()
    with pytest.raises(ArtifactError, match="sweep into a new folder"):
        own.score(tmp_path / "policy", kind, None, "heldout", {"reference": tmp_path / "reference"})
