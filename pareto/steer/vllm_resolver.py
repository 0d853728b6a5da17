"""vLLM asks for an adapter by name; this answers `RUN@helpful=0.7,harmless=0.3` with the exact mixture for those weights.

For those who outgrow one machine: vLLM serves one adapter per request without a scale, so the mixture is written as one
adapter (concatenated factors, padded to a rank vLLM knows) and kept under its name. Weights are rounded to a lattice, so
that clients cannot fill the disk, and the rounded weights are in the name that is kept: a name never stands for two
mixtures.

Set-up: install this package beside vLLM, then

    [project.entry-points."vllm.general_plugins"]
    pareto = "pareto.steer.vllm_resolver:plugin"

or call `register()` before the server starts, with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, PARETO_VLLM_RUN (the run folder)
and PARETO_VLLM_CACHE (an empty folder of one's own). Written for the interface of vLLM 0.9 to 0.33 (`LoRAResolver.
resolve_lora(base_model_name, lora_name)`, `LoRARequest(lora_name, lora_int_id, lora_path)`) and tested against a stand-in
of it; vLLM itself is not a dependency. Start vLLM on the run's reference model with `--max-lora-rank` at least the rank.

Source: vLLM documentation, design/lora_resolver_plugins.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np

from pareto.errors import MissingPackageError, ParetoError, UsageError
from pareto.policy_set import PolicySet, load

VERSIONS = "vllm>=0.9,<0.34"
"""The versions whose interface this is written for."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks vLLM can be started with; an adapter may have any up to the one chosen."""
RUN_VARIABLE, CACHE_VARIABLE = "PARETO_VLLM_RUN", "PARETO_VLLM_CACHE"
_NAME = re.compile(r"(?P<run>[A-Za-z0-9][A-Za-z0-9._-]{0,99})@(?P<weights>[^@/\\]{1,400})")


@final
class MixtureFolder:
    """Adapters for rounded weights on a disk, made when first asked for; the least recently used go first.

    Args:
        run: policies stored as adapters.
        folder: where adapters are kept; only this object writes there.
        divisions: >= 1, weights are rounded to multiples of 1 / divisions.
        max_adapters: >= 1, how many are kept.
    """

    def __init__(self, run: PolicySet, folder: Path, *, divisions: int = 20, max_adapters: int = 200) -> None:
        if divisions < 1 or max_adapters < 1:
            raise UsageError(
                f"divisions and max_adapters must be at least 1; got {divisions} and {max_adapters}"
            )
        self.run, self.folder, self.divisions, self.max_adapters = run, folder, divisions, max_adapters
        folder.mkdir(parents=True, exist_ok=True)
        self._used: dict[str, None] = dict.fromkeys(
            sorted(p.name for p in folder.iterdir() if (p / "adapter_config.json").is_file())
        )

    def rounded(self, text: str) -> np.ndarray:
        """[m] weights of `a=0.7,b=0.3` on the lattice, rounded by largest remainders so that they sum to 1.

        Raises:
            ParetoError: an unknown, missing or doubled objective, or numbers that are no weights.
        """
        named: dict[str, float] = {}
        for part in text.split(","):
            name, equals, number = part.partition("=")
            try:
                value = float(number) if equals else math.nan
            except ValueError:
                value = math.nan
            if not (math.isfinite(value) and 0 <= value <= 1) or name in named:
                raise UsageError(f"expected weights such as a=0.7,b=0.3; got {text!r:.200}")
            named[name] = value
        exact = self.run.check_weights(named) * self.divisions
        counts = np.floor(exact + 1e-9)
        for k in np.argsort(counts - exact, kind="stable")[: self.divisions - int(counts.sum())]:
            counts[k] += 1
        return counts / self.divisions

    def adapter(self, weights: np.ndarray) -> Path:
        """The folder of the adapter for weights on the lattice, written if it is not there yet."""
        from pareto.steer.exporting import export_adapter

        name = self._name(weights)
        path = self.folder / name
        if name not in self._used:
            export_adapter(self.run, weights, path)
        self._used.pop(name, None)
        self._used[name] = None
        while len(self._used) > self.max_adapters:
            oldest = next(iter(self._used))
            del self._used[oldest]
            shutil.rmtree(self.folder / oldest, ignore_errors=True)
        return path

    def _name(self, weights: np.ndarray) -> str:
        """A name that tells run, policies and weights apart, and nothing a client wrote."""
        parts = [
            str(weights.tolist()),
            *(f"{r.id}{n}{d}" for r in self.run for n, d in sorted(r.files.items())),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def make_resolver(base: type, request: Callable[..., Any], name: str, mixtures: MixtureFolder) -> Any:
    """An instance of vLLM's `LoRAResolver` that serves one run.

    Args:
        base: `vllm.lora.resolver.LoRAResolver`.
        request: `vllm.lora.request.LoRARequest`.
        name: what stands before the @.
        mixtures: the run and where its adapters are kept.
    """

    async def resolve_lora(self: Any, base_model_name: str, lora_name: str) -> Any:
        """The adapter for a name, or None where the name is not one of this run's or its weights are wrong."""
        found = _NAME.fullmatch(lora_name)
        if found is None or found["run"] != name:
            return None
        try:
            async with lock:
                path = await asyncio.to_thread(lambda: mixtures.adapter(mixtures.rounded(found["weights"])))
        except ParetoError:
            return None  # vLLM answers 404 with the name, and asks other resolvers first
        digest = hashlib.sha256(f"{lora_name}\n{path.name}".encode()).digest()
        number = (
            int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1
        )  # the same in every process, unlike hash()
        return request(lora_name=lora_name, lora_int_id=number, lora_path=str(path))

    lock = asyncio.Lock()
    return type("ParetoResolver", (base,), {"resolve_lora": resolve_lora})()


def plugin() -> None:
    """Register the resolver where a run is named; the entry point, which vLLM calls in every one of its processes."""
    if os.environ.get(RUN_VARIABLE):
        register()


def register() -> None:
    """Register the resolver with vLLM.

    Raises:
        MissingPackageError: vLLM is not installed.
        UsageError: the run or the folder for adapters is not named.
    """
    try:
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]
        from vllm.lora.resolver import (  # pyright: ignore[reportMissingImports]
            LoRAResolver,
            LoRAResolverRegistry,
        )
    except ImportError as error:
        raise MissingPackageError("vllm", "vllm", f"the LoRA resolver ({VERSIONS})") from error
    missing = [v for v in (RUN_VARIABLE, CACHE_VARIABLE) if not os.environ.get(v)]
    if missing:
        raise UsageError(f"the resolver needs {' and '.join(missing)} in the environment")
    run = load(os.environ[RUN_VARIABLE])
    name = Path(os.environ[RUN_VARIABLE]).resolve().name
    mixtures = MixtureFolder(run, Path(os.environ[CACHE_VARIABLE]))
    LoRAResolverRegistry.register_resolver("pareto", make_resolver(LoRAResolver, LoRARequest, name, mixtures))
