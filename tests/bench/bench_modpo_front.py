"""CPU time of one optimiser step of a whole MODPO front: the official way, and all policies in one job.

The official loop trains one weighting after the other; its step makes four forward passes (policy, reference, margin policy,
and the margin's reference, which is the same model again) and one backward pass over chosen and rejected rows, each with its
prompt, with logits everywhere. Beside it stands the same loop with reference and margin log-probabilities cached, and the front
in one job. Writes reports/align/modpo_front.md: `python tests/bench/bench_modpo_front.py`.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pareto import rng
from pareto.align.modpo_front import FrontLoss, Member
from pareto.core.layout import tiled
from pareto.core.logps import make_scorer
from pareto.core.objective import Objective
from pareto.core.packing import pack
from pareto.core.step import backward
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.models.adapter_bank import AdapterBank
from pareto.models.adapters import LoRA, attach
from pareto.objectives import Objectives
from pareto.state import atomic

REPORT = Path("reports/align")
HIDDEN, LAYERS, VOCABULARY, PROMPT, RESPONSE, BATCH = 192, 4, 2048, 32, 32, 16
WEIGHTS = [np.array([w, 1 - w]) for w in (0.9, 0.7, 0.55, 0.3, 0.1)]
BETA, ADAPTER = 0.1, LoRA(r=16, alpha=32)


def build() -> Any:
    """A small Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def pairs() -> PreferencePairs:
    """A batch of pairs of random tokens with labels under two objectives."""
    draw = rng.generator("bench", 0)
    prompts = draw.integers(1, VOCABULARY, size=(BATCH, PROMPT))
    replies = draw.integers(1, VOCABULARY, size=(2 * BATCH, RESPONSE))
    table = ResponseTable(Ragged.of(prompts), Ragged.of(replies), np.repeat(np.arange(BATCH), 2))
    labels = draw.choice([-1.0, 1.0], size=(BATCH, 2)).astype(np.float32)
    own = 2 * np.arange(BATCH)
    return PreferencePairs(Objectives(["a", "b"]), table, own, own + 1, labels)


def full_logps(model: Any, data: PreferencePairs) -> Tensor:
    """[2 * BATCH] the official way: every response in a row with its prompt, logits at all positions."""
    table = data.table
    ids = torch.tensor(
        np.stack(
            [np.concatenate([table.prompts[p], table.responses[r]]) for r, p in enumerate(table.prompt_of)]
        )
    ).long()
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    return logps[:, PROMPT - 1 :].sum(-1)


class Official:
    """One PEFT model with a policy and a margin adapter, as the released trainer has it.

    Args:
        cached: reference and margin log-probabilities are given instead of computed.
    """

    def __init__(self, data: PreferencePairs, cached: bool) -> None:
        self.data, self.cached = data, cached
        self.model = attach(build(), ADAPTER, seed=0)
        self.model.add_adapter("margin", self.model.peft_config["default"])
        with torch.no_grad(), self.model.disable_adapter():
            self.ref = full_logps(self.model, data)
        self.margin = self.ref.clone()  # the margin adapter's B is zero
        self.sign = torch.from_numpy(data.labels)

    def step(self, weights: np.ndarray) -> None:
        """Forward and backward of one weighting."""
        if self.cached:
            ref, margin, margin_ref = self.ref, self.margin, self.ref
        else:
            with torch.no_grad():
                with self.model.disable_adapter():
                    ref = full_logps(self.model, self.data)
                self.model.set_adapter("margin")
                margin = full_logps(self.model, self.data)
                with self.model.disable_adapter():
                    margin_ref = full_logps(self.model, self.data)
                self.model.set_adapter("default")
        policy = full_logps(self.model, self.data)
        k = int(weights.argmax())
        ratio, other = BETA * (policy - ref), BETA * (margin - margin_ref)
        gap = (ratio - weights[1 - k] * other).view(-1, 2)
        loss = -F.logsigmoid(self.sign[:, k] * (gap[:, 0] - gap[:, 1]) / weights[k])
        loss.mean().backward()
        self.model.zero_grad(set_to_none=True)

    def front(self) -> None:
        """All weightings, one after the other."""
        for w in WEIGHTS:
            self.step(w)


class Together:
    """The suite's way: one forward and one backward pass for all policies, everything else cached."""

    def __init__(self, data: PreferencePairs) -> None:
        self.data = data
        members = [Member(w, BETA, np.zeros(len(data.table.responses))) for w in WEIGHTS]
        base = build()
        with torch.no_grad():
            ref = full_logps(base, data).double().numpy()
        self.loss = FrontLoss(members, data, ref, 0.0, "cpu")
        self.bank = AdapterBank(base, ADAPTER, len(members), seed=0)
        self.scorer = make_scorer(self.bank.base)

    def front(self) -> None:
        """All weightings in one pass, packing included."""
        rows = pack(
            self.data.table,
            self.loss.examples,
            pad_token_id=0,
            share_prompts=self.scorer.share_prompts,
        )
        blocks = tiled(rows, len(WEIGHTS))
        self.bank.expect(len(blocks.input_ids))
        index = torch.arange(len(WEIGHTS) * BATCH)  # example k * n + i, here n is the batch
        backward(self.scorer, blocks, index, Objective(self.loss), divisor=BATCH)
        self.bank.zero_grad(set_to_none=True)


def cpu_s(work: Callable[[], None], repeats: int) -> float:
    """Least CPU time of one call, after a warm-up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = pairs()
    ways = {
        "official loop: 4 forward, 1 backward a weighting": Official(data, cached=False).front,
        "the same with reference and margins cached": Official(data, cached=True).front,
        "one job: all policies side by side": Together(data).front,
    }
    times = {name: cpu_s(work, args.repeats) for name, work in ways.items()}
    first = next(iter(times.values()))
    lines = [
        "# One optimiser step of a MODPO front of 5 weightings",
        "",
        f"Llama of {LAYERS} layers, width {HIDDEN}, vocabulary {VOCABULARY:,}; {BATCH} pairs of {PROMPT} + {RESPONSE} tokens; "
        f"LoRA of rank {ADAPTER.r} on all linear layers; CPU time of one thread, least of {args.repeats}.",
        "",
        "| way | CPU time, s | of the official loop |",
        "|---|---|---|",
        *(f"| {name} | {t:.3f} | {t / first:.2f} |" for name, t in times.items()),
        "",
        "Gradients are those of separate jobs (tests/align/test_modpo_front.py). Besides the passes that are not made, a prompt "
        "is computed once for both responses and logits only where a response token is predicted.",
        "",
        f"Written by `python tests/bench/bench_modpo_front.py`; python {platform.python_version()}, torch {version('torch')}, "
        f"peft {version('peft')}.",
    ]
    REPORT.mkdir(parents=True, exist_ok=True)
    atomic.write_text(REPORT / "modpo_front.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
