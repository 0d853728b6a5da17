"""What a model source is, as a digest that enters cell ids and cache keys."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

WHOLE_BYTES = 64 * 2**20
ENDS_BYTES = 4 * 2**20


def model_fingerprint(source: str, revision: str | None = None) -> str:
    """sha256 of a model folder's files, or of a hub id and revision.

    Files up to 64 MiB are read whole; of larger ones the size and the first and last 4 MiB, since hashing tens of
    gigabytes at every start would cost minutes. A hub id stands for what its revision held when it was downloaded: pin
    the revision where that matters.

    Args:
        source: folder, or hub id.
        revision: of the hub id.
    """
    h = hashlib.sha256()
    folder = Path(source)
    if not folder.is_dir():
        h.update(f"{source}@{revision}".encode())
        return h.hexdigest()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        h.update(f"{path.relative_to(folder).as_posix()}:{size}".encode())
        with path.open("rb") as file:
            if size <= WHOLE_BYTES:
                h.update(file.read())
            else:
                h.update(file.read(ENDS_BYTES))
                file.seek(size - ENDS_BYTES)
                h.update(file.read())
    return h.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 of what a tokenizer does: its vocabulary, special tokens, prompt format, and rules where they can be told.

    Policies may be mixed token by token only where this agrees; equal sizes of vocabularies say nothing.

    Args:
        tokenizer: a Hugging Face tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    told = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "special": {k: str(v) for k, v in sorted(tokenizer.special_tokens_map.items())},
        "prompt_format": getattr(tokenizer, "init_kwargs", {}).get("prompt_format"),
        "chat_template": getattr(tokenizer, "chat_template", None),
        "rules": None if backend is None else backend.to_str(),
    }
    return hashlib.sha256(json.dumps(told, ensure_ascii=True, default=str).encode()).hexdigest()
