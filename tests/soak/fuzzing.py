"""What both fuzzers share: items in numbered chunks, each with a seed of its own, what became of them in a ledger, a report."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.soak.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]


def somewhere_in(tree: Any, draw: Random, *, deeper: float) -> Any:
    """The tree, or a mapping or list some way into it; the chance of every step further is given."""
    place = tree
    while draw.random() < deeper:
        values = place.values() if isinstance(place, dict) else place
        inner = [v for v in values if isinstance(v, dict | list) and v]
        if not inner:
            break
        place = draw.choice(inner)
    return place


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk.

    Args:
        kind: of its items, to be counted by.
        accepted, refused: items that were taken, and items refused with a reason each.
        refused_files: files refused as a whole, with one reason.
        unread: items of such files.
        reasons: reason -> items refused for it.
        problem: what should not have happened, a traceback for one.
        slowest_s: CPU time of the slowest item; 0 where items are read together, as one file.
    """

    kind: str
    accepted: int = 0
    refused: int = 0
    refused_files: int = 0
    unread: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None
    slowest_s: float = 0.0


@dataclass(frozen=True)
class Fuzz:
    """A fuzzer.

    Args:
        name: of what is fuzzed.
        items: how many in all, unless told otherwise.
        each: items of a chunk.
        one: (seed, number of the chunk, items, empty folder) -> what became of it.
    """

    name: str
    items: int
    each: int
    one: Callable[[int, int, int, Path], Outcome]

    def run(self, seed: int, items: int, ledger: Ledger, progress: bool = False) -> None:
        """Do the chunks that the ledger does not hold yet.

        Args:
            seed: of all of them.
            items: in all, at least; chunks are whole.
            ledger: of what was done with this seed.
            progress: print a line from time to time.
        """
        done = {event["chunk"] for event in ledger.events("chunk")}
        chunks = -(-items // self.each)
        said = time.monotonic()
        for number in range(chunks):
            if number in done:
                continue
            before, start, cpu = rss_mib(), time.perf_counter(), time.process_time()
            with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
                outcome = self.one(seed, number, self.each, Path(folder))
            facts = {
                "seconds": time.perf_counter() - start,
                "cpu_s": time.process_time() - cpu,
                "rss_mib": rss_mib(),
            }
            ledger.add(
                "chunk",
                chunk=number,
                seed=seed,
                items=self.each,
                rss_before_mib=before,
                **facts,
                **asdict(outcome),
            )
            if progress and time.monotonic() - said > 20:
                said = time.monotonic()
                print(f"{self.name}: {number + 1} of {chunks} chunks, {facts['rss_mib']:.0f} MiB", flush=True)


def run_one(act: Callable[[], Outcome]) -> Outcome:
    """An outcome; whatever is no refusal is one with its traceback."""
    try:
        return act()
    except Exception:
        return Outcome("broken", problem=traceback.format_exc()[-3000:])


def rss_mib() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << (20 if sys.platform == "darwin" else 10)
    )


def summary(ledger: Ledger) -> dict[str, Any]:
    """The figures of one fuzzer's ledger."""
    chunks = list(ledger.events("chunk"))
    reasons: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    for chunk in chunks:
        reasons.update(chunk["reasons"])
        counts = {k: chunk[k] for k in ("items", "accepted", "refused", "refused_files", "unread")}
        kinds.setdefault(chunk["kind"], Counter()).update(counts)
    first = min((c["rss_before_mib"] for c in chunks), default=0.0)
    warm = sorted(chunks, key=lambda c: c["chunk"])[: max(1, len(chunks) // 10)]
    return {
        "seeds": sorted({c["seed"] for c in chunks}),
        "chunks": len(chunks),
        **{k: sum(c[k] for c in chunks) for k in ("items", "accepted", "refused", "refused_files", "unread")},
        "tracebacks and other problems": sum(c["problem"] is not None for c in chunks),
        "cpu_s": round(sum(c["cpu_s"] for c in chunks), 1),
        "ms per item": round(
            1e3 * sum(c["cpu_s"] for c in chunks) / max(1, sum(c["items"] for c in chunks)), 3
        ),
        "cpu_s of the slowest, at most": round(
            max((min(c["slowest_s"] or c["cpu_s"], c["cpu_s"]) for c in chunks), default=0.0), 2
        ),
        "rss_start_mib": round(first, 1),
        "rss_after_a_tenth_mib": round(max((c["rss_mib"] for c in warm), default=0.0), 1),
        "rss_peak_mib": round(max((c["rss_mib"] for c in chunks), default=0.0), 1),
        "kinds": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
        "reasons": dict(reasons.most_common(40)),
    }


def problems(ledger: Ledger) -> list[str]:
    """What should not have happened, each with the chunk that shows it again."""
    found = [c for c in ledger.events("chunk") if c["problem"] is not None]
    return [f"chunk {c['chunk']} of seed {c['seed']} ({c['kind']}):\n{c['problem']}" for c in found]


def command(fuzz: Fuzz, doc: str) -> None:
    """Run a fuzzer from the command line and write what all ledgers say to reports/reliability."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=fuzz.items, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "fuzz")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "reliability")
    args = parser.parse_args()
    ledger = Ledger(args.scratch / f"{fuzz.name}-{args.seed}.jsonl")
    fuzz.run(args.seed, args.items, ledger, progress=True)
    write(args.out, {fuzz.name: summary(ledger)})
    found = problems(ledger)
    print("\n".join(found[:3]) or f"{fuzz.name}: nothing but rows taken and rows refused")
    sys.exit(1 if found else 0)


def write(out: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write fuzz.json and fuzz.md; figures of a fuzzer that is not among these stay."""
    import numpy
    import pydantic
    import yaml

    out.mkdir(parents=True, exist_ok=True)
    path = out / "fuzz.json"
    before = json.loads(path.read_text())["fuzzed"] if path.exists() else {}
    versions = {m.__name__: m.__version__ for m in (numpy, pydantic, yaml)} | {
        "python": platform.python_version()
    }
    fuzzed = {name: {**table, "versions": versions} for name, table in tables.items()}
    facts = {"platform": platform.platform(), "fuzzed": before | fuzzed}
    path.write_text(json.dumps(facts, indent=1) + "\n")
    (out / "fuzz.md").write_text("\n".join(_lines(facts)) + "\n")


def _lines(facts: Mapping[str, Any]) -> list[str]:
    lines = [
        "# Fuzzed rows and configs",
        "",
        "Written by `python tests/soak/fuzz_rows.py` and `python tests/soak/fuzz_configs.py`; no figure is edited by hand. Every "
        "item ends in one of two ways: it is taken, or it is refused with one message. Rows go through the reader of `pareto "
        "data check`, each file twice (bad rows skipped; stopped at the first, which must be the same one); configs through what "
        "`pareto sweep` resolves. Memory is the most that the process ever had.",
        "",
        f"{facts['platform']}.",
    ]
    for name, table in facts["fuzzed"].items():
        versions = ", ".join(f"{k} {v}" for k, v in table["versions"].items())
        lines += ["", f"## {name}", "", f"Seeds {table['seeds']}; {versions}.", "", "| | |", "|---|---|"]
        lines += [
            f"| {k} | {v} |" for k, v in table.items() if k not in ("kinds", "reasons", "versions", "seeds")
        ]
        columns = sorted({c for counts in table["kinds"].values() for c in counts})
        lines += ["", "| kind | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        lines += [
            f"| {kind} | " + " | ".join(str(counts.get(c, 0)) for c in columns) + " |"
            for kind, counts in table["kinds"].items()
        ]
        lines += ["", "| refused because | items |", "|---|---|"]
        lines += [f"| {_plain(reason)} | {n} |" for reason, n in list(table["reasons"].items())[:25]]
    return lines  # fmt: skip


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() and c != "|" else "?" for c in text)[:100]
