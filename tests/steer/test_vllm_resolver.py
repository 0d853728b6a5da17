"""The LoRA resolver against a stand-in of vLLM's documented base class and request."""

from __future__ import annotations

import asyncio
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass

import pytest
import torch

from pareto.errors import MissingPackageError, UsageError
from pareto.steer import vllm_resolver
from pareto.steer.vllm_resolver import MixtureFolder, make_resolver
from tests.models import adapters_by_hand as by_hand


class LoRAResolver(ABC):
    """The interface as vLLM documents it."""

    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str):
        """A request, or None."""


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@pytest.fixture
def mixtures(adapter_run, tmp_path):
    return MixtureFolder(adapter_run, tmp_path / "cache", divisions=10, max_adapters=2)


@pytest.fixture
def ask(mixtures):
    resolver = make_resolver(LoRAResolver, LoRARequest, "run", mixtures)
    return lambda name: asyncio.run(resolver.resolve_lora("base", name))


def test_a_name_becomes_the_adapter_for_its_weights(adapter_run, ask):
    from peft import PeftModel

    got = ask("run@helpful=0.7,brief=0.3")
    assert got.lora_name == "run@helpful=0.7,brief=0.3"
    assert 0 < got.lora_int_id < 2**31
    loaded = PeftModel.from_pretrained(by_hand.reference(), got.lora_path).eval()
    ids = torch.tensor([[1, 7, 30, 44, 9]])
    policy = adapter_run.steer([0.7, 0.3], method="soup", among="all")
    with torch.no_grad():
        want = policy.model(input_ids=ids, coefficients=torch.from_numpy(policy.rows(None, 1))).logits
        assert float((loaded(input_ids=ids).logits - want).norm() / want.norm()) < 1e-6
    assert ask("run@helpful=0.7,brief=0.3") == got
    assert ask("run@brief=0.3,helpful=0.7").lora_path == got.lora_path
    assert ask("run@helpful=0.6,brief=0.4").lora_path != got.lora_path


@pytest.mark.parametrize(
    "name",
    [
        "run",
        "other@helpful=0.7,brief=0.3",
        "run@helpful=0.7",
        "run@helpful=0.7,brief=0.4",
        "run@helpful=1.2,brief=-0.2",
        "run@helpful=nan,brief=1",
        "run@helpful=1,helpful=0",
        "run@helpfull=1,brief=0",
        "run@../../etc=1",
        "../run@helpful=1,brief=0",
    ],
)
def test_other_names_are_left_to_other_resolvers(ask, mixtures, name):
    assert ask(name) is None
    assert list(mixtures.folder.iterdir()) == []


def test_weights_are_rounded_so_that_they_sum_to_one(mixtures):
    assert mixtures.rounded("helpful=0.333333,brief=0.666667").tolist() == [0.3, 0.7]
    assert mixtures.rounded("helpful=0.25,brief=0.75").tolist() in ([0.3, 0.7], [0.2, 0.8])
    assert mixtures.rounded("helpful=0.1,brief=0.9").tolist() == [0.1, 0.9]


def test_the_disk_holds_a_bounded_number(mixtures, ask, adapter_run):
    first = ask("run@helpful=0.1,brief=0.9").lora_path
    ask("run@helpful=0.2,brief=0.8")
    ask("run@helpful=0.1,brief=0.9")  # used again: the other one is older now
    third = ask("run@helpful=0.3,brief=0.7").lora_path
    assert sorted(str(p) for p in mixtures.folder.iterdir()) == sorted([first, third])
    again = MixtureFolder(adapter_run, mixtures.folder)  # a restart finds them
    assert str(again.adapter(again.rounded("helpful=0.1,brief=0.9"))) == first


def test_the_plugin_registers_itself(adapter_run, tmp_path, monkeypatch):
    for module in ("vllm", "vllm.lora", "vllm.lora.request", "vllm.lora.resolver"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match="vllm"):
        vllm_resolver.register()
    found = {}
    registry = types.SimpleNamespace(register_resolver=lambda name, resolver: found.update({name: resolver}))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", types.SimpleNamespace(LoRARequest=LoRARequest))
    monkeypatch.setitem(
        sys.modules,
        "vllm.lora.resolver",
        types.SimpleNamespace(LoRAResolver=LoRAResolver, LoRAResolverRegistry=registry),
    )
    monkeypatch.delenv(vllm_resolver.RUN_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="PARETO_VLLM_RUN"):
        vllm_resolver.register()
    vllm_resolver.plugin()  # an installed plugin without a run leaves vLLM alone
    assert not found
    monkeypatch.setenv(vllm_resolver.RUN_VARIABLE, str(tmp_path / "run"))
    monkeypatch.setenv(vllm_resolver.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(vllm_resolver, "load", lambda path: adapter_run)
    vllm_resolver.plugin()
    assert isinstance(found["pareto"], LoRAResolver)
    assert asyncio.run(found["pareto"].resolve_lora("base", "run@helpful=1,brief=0")) is not None
