"""Memory of reading preference data: one million rows to a token store. Program: python tests/bench/bench_tokens.py

Preference rows (a prompt, two responses, one label) are written to a JSONL file; then two processes, whose peak resident
sizes are read from the operating system: one reads and tokenises the file into mapped pairs (`read_preferences`,
`tokenise`, `PreferencePairs.save`), the other opens the result and packs batches as training does. Writes
reports/core/tokens.json and tokens.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[2] / "reports" / "core"
LIMIT_MB = 2000
BATCH, N_BATCHES = 64, 500
WORDS = [a + b + c for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("", "n", "rk", "st")]


def write_rows(path: Path, n: int) -> None:
    """`n` rows of about 25 words, no text twice."""
    from pareto.rng import generator

    draw = generator("bench", "tokens")
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, n, 10_000):
            words = draw.integers(0, len(WORDS), size=(10_000, 25)).tolist()
            for i, row in enumerate(words[: n - start], start=start):
                said = [WORDS[k] for k in row]
                chosen, rejected = " ".join(said[9:17]), " ".join(said[17:])
                prompt = f"question {i}: {' '.join(said[:9])}?"
                file.write(
                    f'{{"prompt": "{prompt}", "chosen": "{chosen} {i}.", "rejected": "{rejected} {i}!"}}\n'
                )


def build(rows: Path, folder: Path) -> dict[str, Any]:
    """Read, tokenise and store."""
    from pareto.data.rows import ReadRule, read_preferences
    from pareto.data.tokenise import Limits, tokenise
    from pareto.models.tokenizers import train_tokenizer

    texts = []
    with rows.open(encoding="utf-8") as file:
        for _ in range(2000):
            texts += [str(v) for v in json.loads(file.readline()).values()]
    tokenizer = train_tokenizer(texts, 2048)
    started = _usage()
    data, counts = read_preferences([rows], ReadRule(spool_bytes=0), folder / "texts")
    read = _usage()
    result = tokenise(data, tokenizer, Limits(), folder / "ids")
    tokenised = _usage()
    result.pairs.save(folder / "pairs.npz")
    return {
        "rows": counts.rows,
        "pairs": len(result.pairs),
        "tokens": result.counts.prompt_tokens + result.counts.response_tokens,
        "start_mb": started["peak_mb"],
        "after_reading_mb": read["peak_mb"],
        "after_tokenising_mb": tokenised["peak_mb"],
        "peak_mb": _usage()["peak_mb"],
        "reading_cpu_s": read["cpu_s"] - started["cpu_s"],
        "tokenising_cpu_s": tokenised["cpu_s"] - read["cpu_s"],
    }


def pack_batches(rows: Path, folder: Path) -> dict[str, Any]:
    """Open the pairs and lay out batches from all over the data."""
    import numpy as np

    from pareto.core.packing import pack
    from pareto.core.sampler import Sampler
    from pareto.data.pairs import PreferencePairs

    started = _usage()
    pairs = PreferencePairs.load(folder / "pairs.npz")
    table = pairs.table
    _, chosen, rejected = pairs.decided(pairs.objectives.names[0])
    examples = np.column_stack([chosen, rejected])
    lengths = table.prompts.lengths[table.prompt_of[chosen]] + table.responses.lengths[examples].sum(1)
    sampler = Sampler(lengths, BATCH, seed=0)
    for step in range(min(N_BATCHES, sampler.steps_per_epoch)):
        pack(table, examples[sampler.batch(step)], pad_token_id=0)
    usage = _usage()
    return {
        "start_mb": started["peak_mb"],
        "peak_mb": usage["peak_mb"],
        "cpu_s": usage["cpu_s"] - started["cpu_s"],
        "mapped": isinstance(table.responses.flat.base, np.memmap),
    }


PARTS = {"build": build, "pack": pack_batches}


def _usage() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_mb": used.ru_maxrss * unit / 1e6, "cpu_s": time.process_time()}


def _in_process(part: str, rows: Path, folder: Path) -> dict[str, Any]:
    """Run a part in a process of its own, whose peak is the part's."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--part", part, "--rows-file", str(rows), "--folder", str(folder)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def _markdown(report: dict[str, Any]) -> str:
    built, packed = report["build"], report["pack"]
    return f"""# Preference data that does not fit in memory

{built["rows"]:,} rows ({report["file_mb"]:.0f} MB of JSONL, {built["pairs"]:,} pairs, no text twice, {built["tokens"]:,} token ids),
read, tokenised and stored; then opened and packed into batches of {BATCH} pairs from all over the data.
Peak resident size of each process, interpreter and libraries included; at most {LIMIT_MB} MB wanted: {"met" if report["met"] else "not met"}.

| part | peak MB | of it before the part | CPU s |
|---|---|---|---|
| read the rows | {built["after_reading_mb"]:.0f} | {built["start_mb"]:.0f} | {built["reading_cpu_s"]:.0f} |
| and tokenise | {built["after_tokenising_mb"]:.0f} | | {built["tokenising_cpu_s"]:.0f} |
| and store | {built["peak_mb"]:.0f} | | |
| open ({"mapped" if packed["mapped"] else "read"}) and pack {N_BATCHES} batches | {packed["peak_mb"]:.0f} | {packed["start_mb"]:.0f} | {packed["cpu_s"]:.0f} |

`python tests/bench/bench_tokens.py` on {report["machine"]}; {", ".join(f"{k} {v}" for k, v in report["versions"].items())}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--rows-file", type=Path)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part](arguments.rows_file, arguments.folder)))
        return
    scratch = Path(tempfile.mkdtemp(prefix="bench-tokens-"))
    try:
        rows = scratch / "rows.jsonl"
        write_rows(rows, arguments.rows)
        built = _in_process("build", rows, scratch / "built")
        packed = _in_process("pack", rows, scratch / "built")
        names = ("numpy", "tokenizers", "transformers", "torch")
        report = {
            "rows": arguments.rows,
            "file_mb": rows.stat().st_size / 1e6,
            "build": built,
            "pack": packed,
            "limit_mb": LIMIT_MB,
            "met": max(built["peak_mb"], packed["peak_mb"]) < LIMIT_MB,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
            "versions": {name: importlib.metadata.version(name) for name in names},
        }
    finally:
        shutil.rmtree(scratch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "tokens.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.out / "tokens.md").write_text(_markdown(report))
    print(_markdown(report))


if __name__ == "__main__":
    main()
