"""Small adapters and fine-tuned models with changes large enough to matter, written as PEFT and transformers write them."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from pareto.models.adapters import FullFineTuning, LoRA, attach, save_policy
from tests.models import tiny


def reference(**sizes):
    """A base whose logits spread; the same at every call."""
    model = tiny.llama(0, **({"layers": 1} | sizes))
    for p in model.parameters():
        p.data *= 2
    return model


def write_reference(folder: Path, model=None) -> Path:
    (model or reference()).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def shake(model, seed: int, size: float = 0.1):
    """Random values for everything that is trained."""
    draw = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data += size * torch.randn(p.shape, generator=draw) * (1.0 if "lora_" in name else p.std())
    return model


def write_adapter(folder: Path, seed: int, **peft) -> Path:
    """A trained adapter in PEFT's layout; settings of `LoraConfig` beside or in place of ours."""
    from peft import LoraConfig, get_peft_model

    settings = {"r": 2, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | peft
    model = get_peft_model(reference(), LoraConfig(**settings))
    save_policy(shake(model, seed), folder)
    return folder


def write_ours(folder: Path, seed: int, r: int = 2) -> Path:
    save_policy(shake(attach(reference(), LoRA(r=r, alpha=6), seed=seed), seed), folder)
    return folder


def write_model(folder: Path, seed: int) -> Path:
    save_policy(shake(attach(reference(), FullFineTuning(), seed=0), seed), folder)
    return folder


def merged(folders, coefficients):
    """The mixed weights written out by hand, from PEFT's own merge of each adapter alone: W + sum_k c_k (W_k - W)."""
    from peft import PeftModel

    base = reference()
    base.config.tie_word_embeddings = False  # an update of one of two tied layers leaves the other alone
    base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach().clone())
    total = {n: p.detach().double().clone() for n, p in base.named_parameters()}
    for folder, c in zip(folders, coefficients):
        one = PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).merge_and_unload()
        for name, p in one.named_parameters():
            total[name] += c * (p.detach().double() - dict(base.named_parameters())[name].detach().double())
    for name, p in base.named_parameters():
        p.data = total[name].to(p.dtype)
    return base.eval()
