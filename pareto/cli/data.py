"""`pareto data check`: what preference files hold, before anything is trained on them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pareto.cli._numbers import share
from pareto.cli._study_arguments import add_offline_argument, add_trust_argument

if TYPE_CHECKING:
    from pareto.data.preferences import Preferences
    from pareto.data.report import DataReport
    from pareto.data.rows import ReadCounts

HELP = "read preference files: counts, ties, conflicts, bad rows with line numbers"
EXAMPLES = """examples:
  pareto data check pairs.jsonl more.parquet
  pareto data check scored.csv --objectives helpful,brief --on-bad skip --max-bad 1%
  pareto data check turns.json --column prompt=question
  pareto data check pairs.jsonl --model path/to/model"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help=HELP,
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "files", metavar="FILE", nargs="+", help=".jsonl, .json, .csv, .tsv (also .gz) or .parquet"
    )
    check.add_argument(
        "--objectives", metavar="A,B", help="only these objectives (default: all that are there)"
    )
    check.add_argument("--source", default="rows", help="registered reader of the files (default: rows)")
    check.add_argument(
        "--column", metavar="OURS=THEIRS", action="append", default=[], help="a column that has another name"
    )
    check.add_argument(
        "--on-bad", choices=("stop", "skip"), default="stop", help="what to do about a bad row"
    )
    check.add_argument(
        "--max-bad",
        type=share,
        default=0.001,
        metavar="P",
        help="largest share of skipped rows, such as 0.1%% or 0.001 (default: 0.1%%)",
    )
    check.add_argument(
        "--pairs-per-prompt",
        type=int,
        metavar="N",
        help="most pairs made of the scored responses to a prompt",
    )
    check.add_argument("--model", metavar="DIR", help="also compare the objectives' gradients on this model")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    add_offline_argument(check)
    add_trust_argument(check)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from pareto.data.advice import advice
    from pareto.data.report import describe
    from pareto.data.rows import ReadRule, read_preferences

    rule = ReadRule(
        source=args.source,
        columns=_columns(args.column),
        objectives=tuple(n.strip() for n in args.objectives.split(",")) if args.objectives else None,
        pairs_per_prompt=args.pairs_per_prompt,
        on_bad=args.on_bad,
        max_bad=args.max_bad,
    )
    data, counts = read_preferences([Path(f) for f in args.files], rule)
    report = describe(data)
    gradients = _gradients(data, args.model) if args.model else None
    if args.json:
        from dataclasses import asdict

        found = {**asdict(report), "gradients": gradients, "advice": advice(report)}
        print(json.dumps({"read": asdict(counts), **found}, indent=1))
        return 0
    for line in (*_read_lines(counts), *_content_lines(report), *_gradient_lines(gradients)):
        print(line)
    if sentences := advice(report):
        print("reading")
    for sentence in sentences:
        print(f"  - {sentence}")
    return 0


def _columns(pairs: list[str]) -> dict[str, str]:
    from pareto.errors import UsageError

    found = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise UsageError(f"expected --column OURS=THEIRS, such as prompt=question; got {pair!r}")
        found[ours] = theirs
    return found


def _read_lines(counts: ReadCounts) -> Iterator[str]:
    shapes = ", ".join(f"{n} {shape}" for shape, n in counts.shapes.items())
    yield f"rows        {counts.rows} ({shapes})"
    for name, n in (
        ("bad rows left out", counts.bad),
        ("labels said again", counts.repeated),
        ("labels contradicted", counts.contradicted),
        ("ids used twice", counts.doubled_ids),
        ("pairs of equal texts left out", counts.equal_responses),
    ):
        if n:
            yield f"  {n} {name}"
    yield from (f"    {example}" for example in counts.bad_examples)


def _content_lines(report: DataReport) -> Iterator[str]:
    yield f"prompts     {report.prompts}{_spread(report.characters['prompt'])}"
    yield f"responses   {report.responses}{_spread(report.characters['response'])}"
    extra = [
        f"{n} {name}"
        for name, n in (
            ("equal prompts but for case and spaces", report.near_equal_prompts),
            ("users", report.users),
            ("groups", report.groups),
            ("scored responses", report.rated),
            ("responses labelled step by step", report.stepwise),
        )
        if n
    ]
    yield f"pairs       {report.pairs}" + (f" ({', '.join(extra)})" if extra else "")
    if report.pairs:
        yield from _table(
            ("objective", "decided", "ties", "missing", "longer wins", "cycles"),
            [
                (o.name, o.decided, o.ties, o.missing, _share(o.longer_wins), f"{o.cycles} of {o.triples}")
                for o in report.objectives
            ],
        )
    if report.pairs and report.conflicts:
        yield from _table(
            ("objectives", "both decided", "disagree", "correlation"),
            [
                (f"{c.first} / {c.second}", c.both_decided, _share(c.disagree), _number(c.correlation))
                for c in report.conflicts
            ],
        )


def _gradients(data: Preferences, model_source: str) -> dict[str, Any]:
    """Cosines of the objectives' first gradients on a model, JSON-able."""
    from pareto.core.device import resolve_device
    from pareto.data.tokenise import Limits, tokenise
    from pareto.models.causal import load_causal_lm
    from pareto.models.gradient_conflict import gradient_conflict

    model, tokenizer = load_causal_lm(model_source)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1024
    limits = Limits(
        prompt_tokens=max(1, min(512, positions // 2)), response_tokens=max(1, min(512, positions // 2))
    )
    pairs = tokenise(data, tokenizer, limits).pairs
    found = gradient_conflict(model.to(resolve_device("auto")), pairs)
    names = data.objectives.names
    return {
        "pairs": dict(found.pairs),
        "cosine": _named(names, found.cosine),
        "head_cosine": None if found.head is None else _named(names, found.head),
    }


def _named(names: Sequence[str], table: Any) -> dict[str, dict[str, float]]:
    return {a: dict(zip(names, row)) for a, row in zip(names, table.tolist())}


def _gradient_lines(gradients: Mapping[str, Any] | None) -> Iterator[str]:
    if gradients is None:
        return
    names, pairs = list(gradients["cosine"]), gradients["pairs"]
    for title, key in (("gradient cosine", "cosine"), ("at the head", "head_cosine")):
        if (table := gradients[key]) is not None:
            rows = [(a, *(_number(table[a][b]) for b in names), pairs[a]) for a in names]
            yield from _table((title, *names, "pairs"), rows)
    yield "  on the diagonal: two halves of one objective's pairs against each other"


def _table(header: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    cells = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        first, *others = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        yield "  ".join([first, *others]).rstrip()


def _spread(numbers: tuple[int, int, int]) -> str:
    median, high, largest = numbers
    return f"  (characters: median {median}, 95 % below {high}, largest {largest})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:+.2f}"
