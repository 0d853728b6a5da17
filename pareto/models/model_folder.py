"""What a model's folder may hold, looked at before any library opens it.

A folder comes from its maker, so nothing in it is believed: no code of its own runs unless the command line says so, no
pickle is read, no name or link leads out of it, no file is larger than what is read of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError, ConfigError
from pareto.state import manifest, tensor_file

INDEX = "model.safetensors.index.json"
SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", "processor_config.json", INDEX)
"""JSON files that say how a model and its tokenizer are made."""
MAX_SETTINGS_BYTES = 64 << 20
MAX_DEPTH = 64
CODE = "auto_map"
"""The key by which a model names classes of its own."""
KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Settings whose value is a repository of compiled code where it holds a slash."""


def check_model_folder(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Refuse a model's folder that could run code, read files elsewhere, or hold tensors that are not sound.

    Args:
        folder: of a Hugging Face model with its tokenizer.
        trust_remote_code: the user allows code that comes with the model.

    Raises:
        ConfigError: with the file and the reason.
    """
    check_links(folder)
    settings = {name: read_settings(folder / name) for name in SETTINGS if (folder / name).exists()}
    for name, content in settings.items():
        if not trust_remote_code:
            check_code(folder / name, content)
    for name in _shards(folder / INDEX, settings.get(INDEX)):
        if not (folder / name).is_file():
            raise ConfigError(
                f"{folder / INDEX} names the file {name!r}, which is not there; the model is not whole"
            )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    tensors = [path for path in files if path.suffix == tensor_file.SUFFIX]
    pickled = [path.name for path in files if tensor_file.is_pickled(path.name)]
    if pickled and not tensors:
        raise ConfigError(
            f"{folder} holds pickled weights ({', '.join(pickled[:3])}), which run code when they are read; weights must be "
            "safetensors: convert them where you trust them (save_pretrained) and give the new folder"
        )
    try:
        tensor_file.check_all_tensors(tensors)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error


def check_links(folder: Path) -> None:
    """Refuse links out of a folder, except into the store of the hub's cache that the folder is a snapshot of.

    Raises:
        ConfigError: with the link and where it leads.
    """
    inside = folder.resolve()
    store = inside.parent.parent / "blobs" if inside.parent.name == "snapshots" else inside
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            target = path.resolve()
            if not (target.is_relative_to(inside) or target.is_relative_to(store)):
                raise ConfigError(
                    f"{path} is a link to {target}, out of the model's folder; put a copy of the file there if it belongs there"
                )


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON mapping of a bounded size and depth.

    Raises:
        ConfigError: it is larger, deeper, or something else.
    """
    size = path.stat().st_size
    if size > MAX_SETTINGS_BYTES:
        raise ConfigError(f"{path} may be at most {MAX_SETTINGS_BYTES} bytes; it has {size}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object; got {type(content).__name__}")
    if (depth := max((len(where) for where, _ in _leaves(content)), default=0)) > MAX_DEPTH:
        raise ConfigError(f"{path} is nested {depth} deep; at most {MAX_DEPTH} levels are read")
    return content


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(keys that lead there, value) of everything in parsed JSON."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        where, value = waiting.pop()
        yield where, value
        if isinstance(value, dict):
            waiting += [((*where, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*where, "[]"), inner) for inner in value]


def check_code(path: Path, content: dict[str, Any]) -> None:
    """Refuse settings that name code of the model's own.

    Raises:
        ConfigError: with the key.
    """
    for where, value in _leaves(content):
        key = where[-1] if where else ""
        if key == CODE and value:
            raise ConfigError(
                f"{path} names classes of the model's own ({CODE}: {json.dumps(value)[:120]}), whose code would run; if you "
                "trust whoever made it, say --trust-remote-code on the command line"
            )
        if key in KERNELS and "/" in str(value):
            raise ConfigError(
                f"{path} sets {key} to {str(value)[:120]!r}, a repository of compiled code that would run; remove the key, or, "
                "if you trust whoever made it, say --trust-remote-code on the command line"
            )


def _shards(path: Path, index: dict[str, Any] | None) -> list[str]:
    """The files that an index names, all inside the folder."""
    if index is None:
        return []
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ConfigError(f"{path}: 'weight_map' must map each tensor to its file")
    names = sorted(set(places.values()))
    for name in names:
        if not manifest.is_safe(name) or "/" in name or not name.endswith(tensor_file.SUFFIX):
            raise ConfigError(
                f"{path} names the file {name!r:.120}; expected a safetensors file right in the model's folder"
            )
    return names
