"""Models of a few thousand weights, ragged tables, and log-probabilities the slow way."""

from __future__ import annotations

import copy

import numpy as np
import torch
import transformers as tf

from pareto.data.pairs import Ragged, ResponseTable
from pareto.models.adapters import LoRA, attach

VOCAB = 48
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,  # far from uniform, so that a wrong mask or head is far from right
}


def build(name, *, seed=0, attention=None, **sizes):
    """A causal model in evaluation mode: "Llama" is LlamaForCausalLM; attention None: the library's choice."""
    config = getattr(tf, f"{name}Config")(**(({} if name in ("GPT2", "Bloom") else SIZES) | sizes))
    head = getattr(tf, f"{name}LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return head._from_config(config, attn_implementation=attention).eval()


def llama(seed=0, **sizes):
    return build("Llama", seed=seed, **sizes)


def with_lora(model, *, warm=True, seed=0, **settings):
    """A LoRA around the model; warm: the low-rank factors are both non-zero, so that it changes the outputs."""
    model = attach(model, LoRA(**({"r": 2, "alpha": 4} | settings)), seed=seed)
    if warm:
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3, generator=draw)
    return model


def table(prompt_lengths=(3, 1, 7), response_lengths=((1, 4, 2), (6, 1, 1), (3, 9, 5)), seed=0):
    """Random tokens; one tuple of response lengths a prompt."""
    draw = np.random.default_rng(seed)
    prompts = [draw.integers(3, VOCAB, n) for n in prompt_lengths]
    responses = [draw.integers(3, VOCAB, n) for row in response_lengths for n in row]
    owners = np.repeat(np.arange(len(prompts)), [len(row) for row in response_lengths])
    return ResponseTable(Ragged.of(prompts), Ragged.of(responses), owners)


def plain_logps(model, table):
    """[tokens] float64: one sequence at a time, full logits, double precision where the architecture allows it."""
    model = copy.deepcopy(model).double().eval()
    out = []
    for i in range(len(table.responses)):
        prompt, response = table.prompts[table.prompt_of[i]], table.responses[i]
        ids = torch.from_numpy(np.concatenate([prompt, response]).astype(np.int64))[None]
        with torch.no_grad():
            logps = model(input_ids=ids).logits[0].double().log_softmax(-1)
        out += [float(logps[len(prompt) - 1 + t, token]) for t, token in enumerate(response)]
    return np.array(out)
