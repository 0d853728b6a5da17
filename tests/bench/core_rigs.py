"""What bench_core.py and bench_core_rounding.py train: models, tokens and batches, the same for every program."""

import hashlib
import os
from pathlib import Path

# threads that wait do not spin, so that CPU seconds mean work
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BATCH, BETA, RATE = 8, 0.1, 1e-3
SEED = 0  # bench_core_rounding.py sets others, so that everyone reads it here
WARM = 1  # steps that are not timed
FIRST_IDS = 4  # pad, beginning, end, unknown

RIGS = {
    "full_8k": {"vocab": 8192},
    "lora_8k": {"vocab": 8192, "lora": True},
    "full_32k": {"vocab": 32768},
    "lora_8k_prompt448": {"vocab": 8192, "lora": True, "prompt": 448},
    "ragged_full_8k": {"vocab": 8192, "ragged": True},
}
CPU_SHAPE = {"hidden": 256, "layers": 4, "heads": 4, "ffn": 1024}
CUDA_SHAPE = {"hidden": 2048, "layers": 16, "heads": 32, "ffn": 8192}


def shape_of(device):
    return CPU_SHAPE if device == "cpu" else CUDA_SHAPE


def responses(rig, n):
    """Prompts and pairs of responses, ids drawn evenly; ragged: lengths drawn evenly from half to one and a half."""
    draw = np.random.default_rng([SEED, 17])
    prompts, replies = [], []
    for _ in range(n):
        sizes = [rig.get("prompt", 128), 64, 64]
        if rig.get("ragged"):
            sizes = [int(draw.integers(s // 2, s + s // 2 + 1)) for s in sizes]
        prompt, chosen, rejected = (draw.integers(FIRST_IDS, rig["vocab"], s) for s in sizes)
        chosen[-1] = rejected[-1] = 2
        prompts.append(prompt)
        replies += [chosen, rejected]
    return prompts, replies


def table_of(rig, n):
    from pareto.data.pairs import Ragged, ResponseTable

    prompts, replies = responses(rig, n)
    return ResponseTable(Ragged.of(prompts), Ragged.of(replies), np.repeat(np.arange(n), 2))


def batches_of(rig, n_steps, *, sort=True):
    """[n_steps, BATCH] examples in the order of the core's own sampler: similar lengths together, or plainly shuffled."""
    from pareto.core.sampler import Sampler

    prompts, replies = responses(rig, n_steps * BATCH)
    lengths = np.array(
        [len(p) + len(replies[2 * i]) + len(replies[2 * i + 1]) for i, p in enumerate(prompts)]
    )
    lengths = lengths if sort else np.ones_like(lengths)
    sampler = Sampler(lengths, BATCH, SEED)
    return np.stack([sampler.batch(step) for step in range(n_steps)])


def llama(rig, device):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = shape_of(device)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=rig["vocab"],
        hidden_size=size["hidden"],
        intermediate_size=size["ffn"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["heads"],
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).float().to(device)


LORA = {
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "task_type": "CAUSAL_LM",
}


def same_adapter(model):
    """Give the low-rank factors values that depend on their names alone."""
    import torch

    for name, parameter in trainable(model).items():
        if "lora_A" in name:
            number = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=noise) / parameter.shape[1] ** 0.5)


def trainable(model):
    """Trained parameters under names that both programs share."""
    return {n.replace("module.", ""): p for n, p in model.named_parameters() if p.requires_grad}


def adapted(model, rig):
    """The model with a low-rank adapter, where the rig has one."""
    if not rig.get("lora"):
        return model
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(model, LoraConfig(**LORA))
    same_adapter(model)
    return model


def flat_gradient(model):
    """Gradients of all trained parameters in the order of their names, one after the other."""
    import torch

    return torch.cat([p.grad.flatten() for _, p in sorted(trainable(model).items())])


def tokens_of(rig, batches):
    """Mean tokens of a step in the layout that nobody shares: each response with its prompt. The same for everyone."""
    prompts, replies = responses(rig, batches.size)
    whole = [
        2 * len(prompts[i]) + len(replies[2 * i]) + len(replies[2 * i + 1]) for i in batches[WARM:].ravel()
    ]
    return float(np.sum(whole) / len(batches[WARM:]))
