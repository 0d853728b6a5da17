"""Action heads: whose rows they see, what they move, and how they mix, against models computed head by head."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pareto.core.logps import make_scorer, response_logps, sums
from pareto.core.loop import TrainConfig, train
from pareto.core.losses.base import PairLogps
from pareto.core.losses.dpo import dpo
from pareto.core.objective import Objective
from pareto.core.packing import pack
from pareto.core.step import backward
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.adapters import FullFineTuning, LoRA, attach, load_policy, save_policy
from pareto.models.generate import Sampling, generate
from pareto.models.heads import (
    FullHeads,
    LowRankHeads,
    Marks,
    attach_heads,
    mark_examples,
)
from pareto.models.mixed_heads import load_mixed, mix_heads
from tests.models import tiny

FORMS = [FullHeads(), LowRankHeads(r=3)]
NAMES = ("a", "b", "c")


def table(n_prompts: int = 4, seed: int = 0) -> ResponseTable:
    """Prompts with four responses each, of all lengths."""
    draw = np.random.default_rng(seed)

    def ids() -> np.ndarray:
        return draw.integers(1, 200, draw.integers(1, 7))

    return ResponseTable(
        Ragged.of([ids() for _ in range(n_prompts)]),
        Ragged.of([ids() for _ in range(4 * n_prompts)]),
        np.repeat(np.arange(n_prompts), 4),
    )


# prompt 0 for heads 0 and 1, prompts 1 and 2 for heads 1 and 2, prompt 3 for head 0
EXAMPLES = np.array([[0, 1], [2, 0], [4, 7], [9, 8], [13, 15]])
OWNER = np.array([0, 1, 1, 2, 0])


def moved(module: Any, seed: int = 0) -> Any:
    """The module after some change of what is trainable."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return module


def headed(form: Any, adapter: Any = None, n: int = 3) -> tuple[Any, Any]:
    model = tiny.llama(layers=1)
    if adapter is not None:
        model = attach(model, adapter, seed=0)
    return model, attach_heads(model, form, n, seed=0)


def pairs_loss(index: np.ndarray, ref: torch.Tensor) -> Objective:
    def loss(scored):
        own = ref[torch.from_numpy(index)[scored.index]]
        pairs = PairLogps(
            scored.logps[:, 0],
            scored.logps[:, 1],
            own[:, 0],
            own[:, 1],
            scored.lengths[:, 0],
            scored.lengths[:, 1],
        )
        return dpo(pairs, beta=0.7), {}

    return Objective(loss)


def gradients(model: Any, bank: Any, rows: np.ndarray, chunk: int | None = None) -> dict[str, torch.Tensor]:
    """Of the sum of the DPO losses of some examples, through the core."""
    own = table()
    marked, examples = mark_examples(own, EXAMPLES[rows], OWNER[rows], bank.stride)
    scorer = make_scorer(model)
    packed = pack(marked, examples, pad_token_id=0, share_prompts=scorer.share_prompts)
    ref = torch.zeros(len(EXAMPLES), 2)
    model.zero_grad(set_to_none=True)
    index = torch.arange(len(rows))
    backward(scorer, packed, index, pairs_loss(rows, ref), divisor=1.0, chunk_tokens=chunk)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------------------------------------- marks


def test_marks_by_hand():
    ids = torch.tensor([[5, 6, 17, 7, 35, 3, 4], [2, 1, 9, 0, 0, 0, 0]])  # 17 = 7 + 10, 35 = 5 + 3 * 10
    plain, owner = Marks(10).read(ids)
    assert plain.tolist() == [[5, 6, 7, 7, 5, 3, 4], [2, 1, 9, 0, 0, 0, 0]]
    assert owner.tolist() == [[0, 0, 0, 0, 2, 2, 2], [0] * 7]


def test_marked_examples_say_the_same_words():
    own = table()
    marked, examples = mark_examples(own, EXAMPLES, OWNER, 1000)
    for row, marked_row, owner in zip(EXAMPLES, examples, OWNER):
        for i, j in zip(row.tolist(), marked_row.tolist()):
            assert (marked.responses[j] == own.responses[i]).all()
            got, want = marked.prompts[int(marked.prompt_of[j])], own.prompts[int(own.prompt_of[i])]
            assert (got % 1000 == want).all()
            assert (got // 1000).tolist() == [owner + 1] + [0] * (len(want) - 1)
    assert len(marked.prompts) == 5  # prompt 0 twice, prompts 1, 2 and 3 once each
    assert len(marked.responses) == 10
    assert own.prompts.flat.max() < 200  # a copy was marked


# ---------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.kind)
@pytest.mark.parametrize("adapter", [LoRA(r=2), FullFineTuning()], ids=lambda a: a.kind)
def test_before_the_first_step_every_head_is_the_reference(form, adapter):
    own = table()
    want = sums(own, response_logps(tiny.llama(layers=1), own))
    state = torch.get_rng_state()
    model, bank = headed(form, adapter)
    if adapter.kind == "full":
        assert torch.equal(torch.get_rng_state(), state)
    for head in range(3):
        marked, examples = mark_examples(own, EXAMPLES, np.full(len(EXAMPLES), head), bank.stride)
        got = sums(marked, response_logps(model, marked))[examples]
        np.testing.assert_allclose(got, want[EXAMPLES], atol=2e-5)
    if form.kind == "full":
        assert all(torch.equal(h.weight, bank.original.weight) for h in bank.heads)
        assert len({h.weight.data_ptr() for h in bank.heads} | {bank.original.weight.data_ptr()}) == 4
    else:
        assert all(not h.up.any() and h.down.any() for h in bank.heads)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.kind)
def test_a_head_sees_its_own_response_tokens_and_no_others(form):
    model, bank = headed(form)
    moved(model)
    seen: dict[int, int] = {}
    for j, head in enumerate(bank.heads):
        head.register_forward_hook(lambda m, args, out, j=j: seen.update({j: seen.get(j, 0) + len(args[0])}))
    scorer = make_scorer(model)
    own = table()
    rows = np.array([0, 2, 4])
    marked, examples = mark_examples(own, EXAMPLES[rows], OWNER[rows], bank.stride)
    packed = pack(marked, examples, pad_token_id=0, share_prompts=scorer.share_prompts)
    seen.clear()
    backward(
        scorer, packed, torch.arange(3), pairs_loss(rows, torch.zeros(5, 2)), divisor=1.0, chunk_tokens=1000
    )
    lengths = own.responses.lengths[EXAMPLES].sum(1)
    assert seen == {0: lengths[0] + lengths[4], 1: lengths[2]}
    assert all(p.grad is None for p in bank.heads[2].parameters() if p.requires_grad and form.kind == "full")


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.kind)
def test_rows_of_other_heads_change_nothing(form, chunk):
    model, bank = headed(form)
    moved(model)
    everything, alone = (gradients(model, bank, r, chunk) for r in (np.arange(5), np.array([0, 4])))
    own = [n for n in alone if ".heads.0." in n]
    assert own
    for name in own:
        torch.testing.assert_close(everything[name], alone[name], atol=1e-6, rtol=1e-5)
    assert not any(".heads.1." in n or ".heads.2." in n for n in alone)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.kind)
def test_gradients_are_those_of_a_plain_computation(form):
    """Every row alone, all K heads on all positions, the one that counts picked afterwards: autograd end to end."""
    model, bank = headed(form, FullFineTuning())
    moved(model)
    got = gradients(model, bank, np.arange(5))
    plain, own = copy.deepcopy(model), table()
    plain.model._forward_hooks.clear()
    plain.model._forward_pre_hooks.clear()
    plain.zero_grad(set_to_none=True)
    total = torch.zeros(())
    for row, owner in zip(EXAMPLES, OWNER):
        logps = []
        for i in row.tolist():
            prompt, response = own.prompts[int(own.prompt_of[i])], own.responses[i]
            ids = torch.from_numpy(np.concatenate([prompt, response]).astype(np.int64))[None]
            states = plain.model(input_ids=ids).last_hidden_state[0, len(prompt) - 1 : -1]
            logits = torch.stack([head(states) for head in plain.lm_head.heads])[owner]
            logps.append(logits.log_softmax(-1)[torch.arange(len(response)), ids[0, len(prompt) :]].sum())
        total = total - F.logsigmoid(0.7 * (logps[0] - logps[1]))
    total.backward()
    want = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert {n for n, g in want.items() if g.any()} == {n for n, g in got.items() if g.any()}
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, want[name], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.kind)
@pytest.mark.parametrize("adapter", [LoRA(r=2), FullFineTuning()], ids=lambda a: a.kind)
def test_training_leaves_tied_embeddings_alone(form, adapter):
    before = tiny.llama(layers=1)
    model, bank = headed(form, adapter)
    marked, examples = mark_examples(table(), EXAMPLES, OWNER, bank.stride)
    config = TrainConfig(steps=3, batch_size=4, lr=1e-2, gradient_checkpointing=adapter.kind == "lora")
    train(model, marked, examples, pairs_loss(np.arange(5), torch.zeros(5, 2)), config, seed=0)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    assert torch.equal(base.model.embed_tokens.weight, before.model.embed_tokens.weight)
    parts = [h.weight if form.kind == "full" else h.up for h in bank.heads]
    start = bank.original.weight if form.kind == "full" else torch.zeros_like(parts[0])
    assert all(not torch.equal(p, start) for p in parts)
    bank.release(model)
    assert base.lm_head.weight is base.model.embed_tokens.weight
    assert base.model(input_ids=torch.tensor([[1, 2]])).last_hidden_state.shape[-1] == 32


def test_a_head_that_is_no_plain_matrix_is_refused():
    model = attach(tiny.llama(layers=1), LoRA(r=2, targets=("lm_head",)), seed=0)
    with pytest.raises(ConfigError, match=r"plain linear head.*leave the head out"):
        attach_heads(model, LowRankHeads(), 2, seed=0)
    with pytest.raises(ConfigError, match="1 to 256 heads; got 0"):
        attach_heads(tiny.llama(layers=1), LowRankHeads(), 0, seed=0)


def test_a_mark_for_a_head_that_is_not_there_is_refused():
    model, bank = headed(LowRankHeads(r=1), n=2)
    with pytest.raises(ShapeError, match="marked for head 2; there are 2"):
        model(input_ids=torch.tensor([[3 * bank.stride + 1, 2]]))


# ---------------------------------------------------------------------------------------------- serving


@pytest.fixture(scope="module", params=[(f, a) for f in (0, 1) for a in ("lora", "full")], ids=str)
def stored(request, tmp_path_factory) -> tuple[Path, list[torch.Tensor], Any]:
    """A stored policy with three heads, the logits of every head on some ids, and the form of the heads."""
    form = FORMS[request.param[0]]
    model, bank = headed(form, LoRA(r=2) if request.param[1] == "lora" else FullFineTuning())
    moved(model)
    with torch.no_grad():
        logits = []
        for j in range(3):
            ids = IDS.clone()
            ids[:, 0] += (j + 1) * bank.stride
            logits.append(model.eval()(input_ids=ids).logits)
    folder = tmp_path_factory.mktemp("stored")
    bank.release(model)
    save_policy(model, folder)
    bank.save(folder, NAMES)
    weights = {"a": 0.2, "b": 0.5, "c": 0.3}
    (folder / "policy.json").write_text(json.dumps({"kind": "heads", "weights": weights, "beta": 1.0}))
    return folder, logits, form


IDS = torch.tensor([[1, 20, 30, 40, 7, 9], [2, 4, 8, 16, 32, 64]])


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_at_a_vertex_exactly_that_head_comes_back(stored):
    folder, logits, _ = stored
    model = load_policy(tiny.llama(layers=1), folder)
    assert not model.training
    for j in range(3):
        got = logits_of(mix_heads(model, folder, np.eye(3)[j]))
        torch.testing.assert_close(got, logits[j], atol=1e-6, rtol=1e-6)
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_mixed_logits_are_mixed_log_probabilities(stored):
    folder, logits, _ = stored
    got = logits_of(load_policy(tiny.llama(layers=1), folder)).log_softmax(-1)
    mixed = sum(w * z.double().log_softmax(-1) for w, z in zip((0.2, 0.5, 0.3), logits))
    want = mixed - torch.as_tensor(mixed).logsumexp(-1, keepdim=True)
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=0)


def test_weights_of_every_row(stored):
    folder, logits, form = stored
    model = load_mixed(tiny.llama(layers=1), folder)
    w = np.array([[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]])
    if form.kind == "full":
        with pytest.raises(ShapeError, match="one weight vector at a time"):
            mix_heads(model, folder, w)
        return
    got = logits_of(mix_heads(model, folder, w))
    want = [sum(x * z[i] for x, z in zip(w[i], logits)) for i in range(2)]
    torch.testing.assert_close(got, torch.stack([torch.as_tensor(x) for x in want]), atol=1e-5, rtol=1e-5)


def test_decoding_with_a_cache_is_computing_everything_again(stored):
    folder, _, _ = stored
    model = load_policy(tiny.llama(layers=1), folder)
    with torch.no_grad():
        whole = model(input_ids=IDS).logits
        cache, steps = None, []
        for t in range(IDS.shape[1]):
            out = model(input_ids=IDS[:, t : t + 1], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=2e-5, rtol=1e-4)
    replies = generate(
        model, tiny.tokenizer(), ["the cat", "rain"], Sampling(max_new_tokens=5, temperature=0)
    )
    for prompt, reply in zip(("the cat", "rain"), replies):
        ids = list(tiny.tokenizer()(prompt)["input_ids"])
        begin = len(ids)
        for token in reply.ids.tolist():
            ids.append(token)
        with torch.no_grad():
            greedy = model(input_ids=torch.tensor([ids])).logits[0, begin - 1 : -1].argmax(-1)
        assert greedy.tolist() == reply.ids.tolist()


def test_without_adapters_the_policy_is_its_reference_head_included(stored):
    folder, _, _ = stored
    model = load_policy(tiny.llama(layers=1), folder)
    want = logits_of(tiny.llama(layers=1))
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            torch.testing.assert_close(logits_of(model), want, atol=1e-6, rtol=0)
    assert (logits_of(model) - want).abs().max() > 0.01


def test_only_plain_files_are_stored_and_the_same_bytes_each_time(stored, tmp_path):
    folder, _, form = stored
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        moved(headed(form)[1]).save(tmp_path / name, NAMES)
    assert (tmp_path / "one/heads.safetensors").read_bytes() == (
        tmp_path / "two/heads.safetensors"
    ).read_bytes()


def test_what_is_broken_is_named(stored, tmp_path):
    folder, _, _ = stored
    with pytest.raises(ShapeError, match=r"must be \[3\] or \[B, 3\]; got \[2\]"):
        mix_heads(tiny.llama(layers=1), folder, [0.5, 0.5])
    with pytest.raises(ArtifactError, match="another base model"):
        mix_heads(tiny.llama(layers=1, hidden=16), folder, [0.2, 0.5, 0.3])
    (tmp_path / "heads.json").write_text('{"objectives": ["a", "b"]}')
    (tmp_path / "policy.json").write_text('{"weights": {"a": 1.0}}')
    with pytest.raises(ArtifactError, match="a weight for each of a, b"):
        load_policy(tiny.llama(layers=1), tmp_path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        mix_heads(tiny.llama(layers=1), tmp_path, [0.5, 0.5])
    (tmp_path / "heads.json").write_text("[]")
    with pytest.raises(ArtifactError, match="must hold a mapping; got list"):
        load_policy(tiny.llama(layers=1), tmp_path)
