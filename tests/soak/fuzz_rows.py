"""Preference rows of every shape, spoiled in every way that files are spoiled, as files for the public reader.

python tests/soak/fuzz_rows.py                  # 1,250,000 rows, so that a million are looked at one by one; a stopped run goes on
python tests/soak/fuzz_rows.py --items 20000 --seed 7
"""

import copy
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.soak import tables  # the root comes first
from tests.soak.fuzzing import Fuzz, Outcome, command, run_one, somewhere_in

ROWS = 1000
"""Rows of a file."""
WORDS = [
    "rain",
    "fell",
    "over",
    "old",
    "green",
    "hills",
    "while",
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "the",
    "dog",
    "ran",
    "after",
    "it",
]
NAMES = ("helpful", "brief", "kind", "safe")
DEEP, VERY_DEEP = 60, 100_000
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2, 1.5, -0.0, 1e308, 10**400, 2**63, float("nan"), float("inf"), float("-inf"), "", " ", "\0", "\n\r\u2028",
    "\ud800", "\udfff\ud800", "\ufeff", "\u202ex", "e\u0301" * 9, "NaN", "1e999", "null", "[{", "{{ 7 * 7 }}", "../../etc/passwd", [], {}, [[]],
    [None], {"": ""}, [{"role": "user"}], [{"role": "user", "content": "hi"}], [{"role": 1, "content": []}], [{"content": "x", "role": None}],
    [{"role": "assistant", "content": "x", "tool_calls": [{"a": float("nan")}]}], {"helpful": 1}, {"helpful": "1"}, {"": 1}, {"a,b": 1},
    ["a", 1, None], [1, 2, 3],
)  # fmt: skip
"""Values that some column, somewhere, does not take."""


def sound(draw: Random) -> dict[str, Any]:
    """A row as contracts have it, of any shape."""
    row = draw.choice(SHAPES)(draw, _text(draw), f"{_text(draw)} one", f"{_text(draw)} two")
    for name, values in EXTRAS.items():
        if draw.random() < 0.1:
            row[name] = draw.choice(values)
    return row


def _text(draw: Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))


def _turns(draw: Random, *roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": _text(draw)} for role in roles]


def _named(draw: Random, values: tuple[Any, ...]) -> dict[str, Any]:
    return {name: draw.choice(values) for name in NAMES[: draw.randint(1, 4)]}


def _scored(draw: Random, p: str, a: str, b: str) -> dict[str, Any]:
    responses = [a, b, f"{a} {b}", p][: draw.randint(1, 4)]
    return {
        "prompt": p,
        "responses": responses,
        "scores": [_named(draw, (0.5, 3.2, -1, None)) for _ in responses],
    }


def _conversation(draw: Random, p: str, a: str, b: str) -> dict[str, Any]:
    start = _turns(draw, "user", "assistant", "user")
    return {"chosen": start + _turns(draw, "assistant"), "rejected": start + _turns(draw, "assistant")}


SHAPES = (
    lambda draw, p, a, b: {"prompt": p, "chosen": a, "rejected": b, "objective": draw.choice(NAMES)},
    lambda draw, p, a, b: {"prompt": p, "response_a": a, "response_b": b, "preferences": _named(draw, (1, -1, 0, None))},
    _scored,
    _conversation,
    lambda draw, p, a, b: {"chosen": f"{p} {a}", "rejected": f"{p} {b}"},
    lambda draw, p, a, b: {"prompt": _turns(draw, "user"), "chosen": _turns(draw, "assistant"), "rejected": _turns(draw, "assistant")},
    lambda draw, p, a, b: {"prompt": p, "completion": a, "label": draw.random() < 0.5},
    lambda draw, p, a, b: {"prompt": p, "completions": [a, b], "labels": [True, False]},
    lambda draw, p, a, b: {"prompt": p, "chosen": a, "rejected": b, draw.choice(("rationale", "other_prompt")): p},
    lambda draw, p, a, b: {"prompt": p, "chosen": a, "rejected": b, "degraded": [a[:5]]},
    lambda draw, p, a, b: {"prompt": p, "noisy_prompt": b, "completion": a},
)  # fmt: skip
"""(stream, prompt, reply, reply) -> a row."""
EXTRAS = {"weight": (0, 0.5, 2), "margin": (0.1, -3), "user": ("u", 7), "group": ("g",), "id": (1, "x")}


def spoil(row: dict[str, Any], draw: Random) -> dict[str, Any]:
    """The row with something wrong in it, or beside it, or with nothing changed that matters."""
    for _ in range(draw.randint(1, 3)):
        place = somewhere_in(row, draw, deeper=0.5)
        if not place:
            continue
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key, other = draw.choice(keys), draw.choice(keys)
        match draw.randrange(7):
            case 0:
                del place[key]
            case 1 | 2:
                place[key] = copy.deepcopy(draw.choice(ODD))
            case 3:
                place[key], place[other] = place[other], place[key]
            case 4 if isinstance(place, dict):
                place[draw.choice((f"{key} ", str(key).upper(), "prompt", "scores", "\0", "x" * 300))] = (
                    place.pop(key)
                )
            case 5:
                place[key] = [place[key]]
            case _:
                value: Any = "deep"
                for _ in range(draw.choice((2, DEEP))):
                    value = [value] if draw.random() < 0.5 else {"x": value}
                place[key] = value
    return row


def damage(line: bytes, draw: Random) -> bytes:
    """The line as a broken disk, a killed writer or a careless editor leaves it."""
    at = draw.randrange(len(line) + 1)
    match draw.randrange(13):
        case 0:
            return line[:at]
        case 1:
            return line[:at] + bytes([draw.randrange(256)]) + line[at + 1 :]
        case 2:
            return (
                line[:at]
                + draw.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"))
                + line[at:]
            )
        case 3:
            return line[:at] + bytes([draw.choice((0, 1, 7, 8, 9, 10, 13, 27, 127))]) + line[at:]
        case 4:
            return b'{"prompt": ' + draw.choice((b"1", b'"x"', b"null")) + b", " + line[1:]
        case 5:
            return draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"  ", b",", b"][")) + line
        case 6:
            return line + draw.choice((b",", b"}", line, b" // why", b"\\", b"\xe2\x80\xa8"))
        case 7:
            return draw.choice((b"", b" ", b"\t", b"null", b"[]", b"0", b'"', b"{}", b"{", b"NaN", b"'x'"))
        case 8:
            return line.replace(b'"', draw.choice((b"'", b"", b'""', b"\\u0022")), draw.randint(1, 4))
        case 9:
            return line.replace(
                b": ",
                draw.choice(
                    (b": 1" + b"0" * draw.choice((30, 5000)) + b", ", b": 1e9999, ", b": -Infinity, ")
                ),
                1,
            )
        case 10 if draw.random() < 0.01:
            return line[:at] + draw.choice((b"[", b'{"x":')) * VERY_DEEP + line[at:]
        case 11 if draw.random() < 0.005:
            return line[:-1] + b', "x": "' + b"a" * draw.choice((1 << 20, 17 << 20)) + b'"}'
        case _:
            return line[:at] + line[at:][::-1]  # fmt: skip


def text_lines(draw: Random, n: int) -> Iterator[bytes]:
    """Rows as JSON, a third of them sound, a third spoiled as values, a third damaged as bytes."""
    for _ in range(n):
        row = sound(draw)
        fate = draw.randrange(3)
        line = json.dumps(spoil(row, draw) if fate == 1 else row, ensure_ascii=draw.random() < 0.5)
        raw = line.encode("utf-8", "surrogatepass")
        yield damage(raw, draw) if fate == 2 else raw


def jsonl(draw: Random, n: int) -> bytes:
    return draw.choice((b"\n", b"\r\n")).join(text_lines(draw, n)) + draw.choice((b"", b"\n", b"\n\n"))


def zipped(draw: Random, n: int) -> bytes:
    raw = gzip.compress(jsonl(draw, n), 1)
    return raw if draw.random() < 0.8 else damage(raw, draw)


def json_list(draw: Random, n: int) -> bytes:
    """A list whose elements are JSON, so that reading goes on after a bad one; some lists are broken somewhere."""
    rows = [spoil(sound(draw), draw) if draw.random() < 0.5 else sound(draw) for _ in range(n)]
    raw = json.dumps(rows, indent=draw.choice((None, 0, 1))).encode()
    return damage(raw, draw) if draw.random() < 0.3 else raw


FORMATS = {
    "jsonl": (jsonl, 10),
    "jsonl.gz": (zipped, 3),
    "json": (json_list, 4),
    "csv": (tables.csv_file(",", sound, spoil, damage), 3),
    "tsv": (tables.csv_file("\t", sound, spoil, damage), 1),
    "parquet": (tables.parquet_file(sound, ODD, damage), 2),
}
"""Ending -> (what writes such a file, its share of the files)."""


def files(seed: int, number: int, n: int, folder: Path) -> Path:
    """Write the file of this number; the same seed and number give the same bytes."""
    draw = Random(f"rows {seed} {number}")
    suffix = draw.choices(list(FORMATS), [share for _, share in FORMATS.values()])[0]
    path = folder / f"rows.{suffix}"
    path.write_bytes(FORMATS[suffix][0](draw, n))
    return path


def read(path: Path, n: int) -> Outcome:
    """What `pareto data check` does with a file: once skipping bad rows, once stopping at the first."""
    from pareto.data.advice import advice
    from pareto.data.report import describe
    from pareto.data.rows import ReadRule, read_preferences
    from pareto.errors import ParetoError

    kind = path.name.partition(".")[2]
    try:
        data, counts = read_preferences([path], ReadRule(on_bad="skip", max_bad=1.0))
    except ParetoError as error:
        return Outcome(kind, refused_files=1, unread=n, problem=_unlike_one_message(error))
    advice(describe(data))
    problem = None
    if counts.bad:
        try:
            read_preferences([path])
            problem = "a bad row did not stop the read"
        except ParetoError as error:
            first = counts.bad_examples[0]
            problem = _unlike_one_message(error)
            if not str(error).startswith(first):
                problem = f"stopped at {error}, skipped first {first}"
    return Outcome(
        kind,
        accepted=counts.rows - counts.bad,
        refused=counts.bad,
        reasons=dict(counts.bad_reasons),
        problem=problem,
    )


def _unlike_one_message(error: Exception) -> str | None:
    text = str(error)
    bad = not text.isprintable() or len(text) > 2000
    return f"not one printable message: {text!r:.300}" if bad else None


FUZZ = Fuzz(
    name="rows",
    items=1_250_000,
    each=ROWS,
    one=lambda seed, number, n, folder: run_one(lambda: read(files(seed, number, n, folder), n)),
)

if __name__ == "__main__":
    command(FUZZ, __doc__ or "")
