"""Folders of models and adapters as somebody would make them who means harm: each would run code, or read what is not its own.

Every edit takes a sound folder and the path of a sentinel, a file that must never come into being, and makes it hostile.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Edit = Callable[[Path, Path], object]


class Payload:
    """What a pickle can hold: a call that is made when it is read."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.sentinel}'",)


def patch_json(name: str, **changes: Any) -> Edit:
    def edit(folder: Path, sentinel: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | changes))

    return edit


def code(folder: Path, sentinel: Path) -> None:
    """A module of the model's own, whose import leaves the sentinel."""
    (folder / "evil.py").write_text(
        f"open({str(sentinel)!r}, 'w').close()\n"
        "import transformers\n"
        "class Config(transformers.LlamaConfig):\n    model_type = 'own'\n"
        "class Model(transformers.LlamaForCausalLM):\n    config_class = Config\n"
        "class Tokenizer(transformers.PreTrainedTokenizerFast):\n    pass\n"
    )


def both(*edits: Edit) -> Edit:
    def edit(folder: Path, sentinel: Path) -> None:
        for one in edits:
            one(folder, sentinel)

    return edit


def pickled(name: str, replaced: str) -> Edit:
    def edit(folder: Path, sentinel: Path) -> None:
        (folder / replaced).unlink()
        (folder / name).write_bytes(pickle.dumps(Payload(sentinel)))

    return edit


def linked(name: str) -> Edit:
    """The file moves out of the folder and a link to it takes its place."""

    def edit(folder: Path, sentinel: Path) -> None:
        outside = sentinel.parent / "outside"
        outside.mkdir(exist_ok=True)
        (folder / name).rename(outside / name)
        (folder / name).symlink_to(outside / name)

    return edit


def tensors(content: bytes) -> Edit:
    def edit(folder: Path, sentinel: Path) -> None:
        for path in folder.glob("*.safetensors"):
            path.write_bytes(content)

    return edit


def header(entries: dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _f32(begin: int, end: int, n: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [n], "data_offsets": [begin, end]}


HEADERS = {
    "a header of 2^62 bytes": header({}, length=2**62),
    "a header of more than 100 MB": header({"__metadata__": {"x": " " * 100_000_001}}),
    "a header longer than the file": header({}, length=1000),
    "a tensor beyond the file": header({"w": _f32(0, 4096, 1024)}, b"\0" * 8),
    "tensors that overlap": header({"v": _f32(0, 8, 2), "w": _f32(4, 12, 2)}, b"\0" * 12),
    "a tensor of negative length": header({"w": _f32(8, 0, 2)}, b"\0" * 8),
    "a shape of 2^80 numbers": header({"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, b"\0" * 8),
    "a header that is no JSON": struct.pack("<Q", 4) + b"{{{{",
    "half a header": b"\x10\0\0",
    "nothing at all": b"",
}  # fmt: skip


def index(name: str) -> Edit:
    """Weights in shards, whose index names a file of this name."""

    def edit(folder: Path, sentinel: Path) -> None:
        outside = sentinel.parent / "outside.safetensors"
        (folder / "model.safetensors").rename(outside)
        content = {
            "metadata": {},
            "weight_map": {"model.embed_tokens.weight": name.replace("OUTSIDE", str(outside))},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return edit


AUTO = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
DEEP = "[" * 100_000 + "]" * 100_000

MODELS: dict[str, tuple[Edit, str]] = {
    "code of its own": (both(code, patch_json("config.json", auto_map=AUTO, model_type="own")), "classes of the model's own"),
    "code of its own beside a known architecture": (both(code, patch_json("config.json", auto_map=AUTO)), "classes of the model's own"),
    "code of a hub's": (patch_json("config.json", auto_map={"AutoModelForCausalLM": "org/evil--evil.Model"}), "classes of the model's own"),
    "a tokenizer with code": (both(code, patch_json("tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.Tokenizer"]})), "classes of the model's own"),
    "a compiled kernel": (patch_json("config.json", attn_implementation="org/evil"), "repository of compiled code"),
    "pickled weights, .bin": (pickled("pytorch_model.bin", "model.safetensors"), "holds pickled weights"),
    "pickled weights, .pt": (pickled("model.pt", "model.safetensors"), "holds pickled weights"),
    "a pickle called safetensors": (lambda f, s: (f / "model.safetensors").write_bytes(pickle.dumps(Payload(s))), "no sound safetensors file"),
    "weights behind a link": (linked("model.safetensors"), "is a link to .*out of the model's folder"),
    "a tokenizer behind a link": (linked("tokenizer.json"), "is a link to .*out of the model's folder"),
    "an index to an absolute path": (index("OUTSIDE"), "expected a safetensors file right in the model's folder"),
    "an index that climbs": (index("../outside.safetensors"), "expected a safetensors file right in the model's folder"),
    "an index with a control character": (index("a\x1b[2Jb.safetensors"), "expected a safetensors file right in the model's folder"),
    "an index to a pickle": (index("model.bin"), "expected a safetensors file right in the model's folder"),
    "an index to nothing": (index("absent.safetensors"), "which is not there"),
    "an index that is no map": (both(index("x"), patch_json("model.safetensors.index.json", weight_map=["x"])), "'weight_map' must map"),
    "a config that never ends": (lambda f, s: (f / "config.json").write_text(DEEP), "not readable as JSON"),
    "a deep config": (patch_json("config.json", x=json.loads("[" * 500 + "]" * 500)), "levels are read"),
    "a config that is a list": (lambda f, s: (f / "config.json").write_text("[]"), "must hold a JSON object"),
    "a config of other types": (patch_json("config.json", hidden_size="32", num_hidden_layers=[2]), "cannot be loaded"),
    "half of the tensors": (patch_json("config.json", num_hidden_layers=4), "is not whole"),
    "tensors of another size": (patch_json("config.json", intermediate_size=8), "is not whole|cannot be loaded"),
    "a tokenizer that is no tokenizer": (lambda f, s: (f / "tokenizer.json").write_text('{"model": 7}'), "tokenizer of .* cannot be loaded"),
    **{name: (tensors(content), "no sound safetensors file") for name, content in HEADERS.items()},
}  # fmt: skip
"""Name -> (edit of a sound model's folder, the reason that is given)."""

ADAPTERS: dict[str, tuple[Edit, str]] = {
    "pickled weights": (pickled("adapter_model.bin", "adapter_model.safetensors"), "has no adapter_model.safetensors"),
    "a pickle called safetensors": (lambda f, s: (f / "adapter_model.safetensors").write_bytes(pickle.dumps(Payload(s))), "no sound safetensors file"),
    "a module to be imported": (patch_json("adapter_config.json", megatron_config={"x": 1}, megatron_core="evil"), "have a module imported"),
    "files from anywhere": (patch_json("adapter_config.json", corda_config={"cache_file": "/etc/passwd"}), "have files read from anywhere"),
    "a tokenizer with code": (patch_json("adapter_config.json", tokenizer_name_or_path="org/evil", tokenizer_kwargs={"trust_remote_code": True}), "have another tokenizer loaded"),
    "code of its own": (patch_json("adapter_config.json", auto_map={"x": "evil.Model"}), "classes of the model's own"),
    "weights behind a link": (linked("adapter_model.safetensors"), "is a link"),
    "another base": (patch_json("adapter_config.json", target_modules=["conv1"]), "does not fit the model"),
    "another rank": (patch_json("adapter_config.json", r=7), "does not fit the model"),
    "a kind that nobody knows": (patch_json("adapter_config.json", peft_type="EVIL"), "does not fit the model"),
    "settings that never end": (lambda f, s: (f / "adapter_config.json").write_text(DEEP), "not readable as JSON"),
    **{name: (tensors(content), "no sound safetensors file") for name, content in HEADERS.items()},
}  # fmt: skip
"""Name -> (edit of a sound adapter's folder, the reason that is given)."""

TEMPLATES = {
    "out of the sandbox by a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "out of the sandbox by globals": "{{ cycler.__init__.__globals__.os.system('touch SENTINEL') }}",
    "out of the sandbox by a format": "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}",
    "out of the sandbox by an attribute": "{{ (messages|map(attribute='__class__')|list)[0].__init__.__globals__ }}",
    "a file": "{% include '/etc/passwd' %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a loop over a long word": "{% set w = 'a' * 90000 %}{% for i in w %}{% for j in w %}{% endfor %}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a range without end": "{% for i in range(10 ** 12) %}{% endfor %}",
    "a text without end": "{{ 'a' * (10 ** 13) }}",
    "what is not there": "{{ messages[0].nothing.at.all }}",
    "broken": "{% for %}",
    "a refusal": "{{ raise_exception('roles must alternate') }}",
    "a division by nothing": "{{ 1 / 0 }}",
}
"""Name -> chat template."""
