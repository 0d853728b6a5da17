"""Studies spoiled in every way that configs are spoiled, for what `pareto sweep` resolves before it does anything.

python tests/soak/fuzz_configs.py               # 100,000 configs; a stopped run goes on
python tests/soak/fuzz_configs.py --items 2000 --seed 7
"""

import copy
import json
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.soak.fuzzing import ROOT, Fuzz, Outcome, command, somewhere_in

EACH = 100
"""Configs of a chunk."""
PATIENCE_S = 60
"""A config that takes longer hangs."""
SENTINEL = "sentinel"
"""A file in the chunk's folder that would be there if a config had run something."""
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-300, 1e308, -1e308, 10**9, 10**30, -(10**30), float("nan"), float("inf"), "", " ", "no",
    "1e5", "0x10", "1_000", "12:30:00", "2024-01-01", "null", "~", ".nan", "\0", "\u202e", "\x1b[2J", "e\u0301" * 99, "x" * 5000, "../../etc/passwd",
    "/dev/zero", "~/x", "file:///etc/passwd", "os:system-v0", "org/model", "a b", "{prompt}", "{{7*7}}", "%(x)s", [], {}, [[]], [None], {"": None},
    [0.5, 0.5], ["helpful", "helpful"], [1, "a", None], {"kind": "lora"}, {"kind": "nothing"}, {"name": "modpo"}, {"helpful": 1}, {"a": {"b": {"c": 1}}},
)  # fmt: skip
KEYS = ("study", "task", "method", "weights", "seeds", "score", "engine", "imports", "kind", "name", "n", "list", "__class__", "model_config", "",
        "a.b", "task.seed", "<<", "x" * 300, "\x1b[1m", "objectives", "adapter", "training")  # fmt: skip
BOMBS = (
    "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "loop: &l [*l]\n",
    "base: &b {seed: 1}\nmore: {<<: *b}\n",
    "<<: {seed: 1}\n",
    "deep: " + "[" * 2000 + "]" * 2000 + "\n",
    "deep: " + "{a: " * 1000 + "1" + "}" * 1000 + "\n",
    "".join("  " * i + f"k{i}:\n" for i in range(400)),
    "x: !!python/object/apply:os.system ['touch sentinel']\n",
    "x: !!python/object/new:os.system ['touch sentinel']\n",
    "x: !!python/name:os.system\n",
    "x: !!python/module:os\n",
    "x: !!binary aGk=\n",
    "x: !!set {a, b}\n",
    "x: !own [1]\n",
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "study: again\n",
    "---\nstudy: second\n",
    "%YAML 1.1\n---\n",
    "x: 1" + "0" * 150 + "\n",
    "x: 1e99999\n",
    "x: 0o777777777777777777777777777777777777777\n",
    "x: |\n  text\n\t tab\n",
    "x: 'unclosed\n",
    'x: "\\ud800\\x00"\n',
    "x: \x07\n",
    "\ufeffx: 1\n",
    "x: [1, 2\n",
    "- a\n- b\n",
    "imports: [os]\n",
)  # fmt: skip
"""What is put somewhere into a study."""


@cache
def studies() -> tuple[tuple[str, dict[str, Any]], ...]:
    """(text, content) of every study that comes with the suite."""
    from pareto.config import parse_yaml

    paths = sorted(
        [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "tests" / "soak" / "studies").glob("*.yaml")]
    )
    texts = [path.read_text() for path in paths]
    return tuple((text, parse_yaml(text).data) for text in texts)


def as_tree(draw: Random) -> bytes:
    """A study with wrong values, names and shapes, written in YAML's flow style, which is JSON."""
    data = copy.deepcopy(draw.choice(studies())[1])
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        place = somewhere_in(data, draw, deeper=0.75)
        if not place:
            continue
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key, other = draw.choice(keys), draw.choice(keys)
        match draw.randrange(9):
            case 0:
                del place[key]
            case 1 if isinstance(place[key], int | float):
                place[key] = draw.choice(
                    (place[key] * 2, place[key] + 1, place[key] / 2, -place[key], place[key] * 1000, 0)
                )
            case 2 | 3:
                place[key] = copy.deepcopy(draw.choice(ODD))
            case 4 if isinstance(place, dict):
                place[draw.choice(KEYS)] = copy.deepcopy(draw.choice(ODD))
            case 5 if isinstance(place, dict):
                place[draw.choice((*KEYS, str(key)[:-1], str(key).upper(), f"{key}s"))] = place.pop(key)
            case 6:
                place[key] = copy.deepcopy(draw.choice(studies())[1].get(str(key), draw.choice(ODD)))
            case 7:
                place[key], place[other] = place[other], place[key]
            case _:
                place[key] = draw.choice(([place[key]], {"x": place[key]}, str(place[key])))
    text = json.dumps(data, ensure_ascii=draw.random() < 0.9)
    return text.replace("NaN", ".nan").replace("Infinity", ".inf").encode("utf-8", "surrogatepass")  # fmt: skip


def as_text(draw: Random) -> bytes:
    """A study as an editor, a merge or a disk leaves it."""
    lines = draw.choice(studies())[0].splitlines()
    for _ in range(draw.randint(1, 3)):
        at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        match draw.randrange(9):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at] = " " * draw.randint(1, 3) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip()
            case 4:
                lines[at], lines[other] = lines[other], lines[at]
            case 5:
                here = draw.randrange(len(lines[at]) + 1)
                lines[at] = (
                    lines[at][:here]
                    + draw.choice(list("\t:{}[],&*!|>'\"%@`#?-\0\x1b\u2028\u202e"))
                    + lines[at][here:]
                )
            case 6:
                lines[at] = lines[at].replace(":", draw.choice(("", " :", "::", "=")), 1)
            case 7:
                lines = lines[: at + 1]
            case _:
                lines[at] = lines[at][::-1]
    raw = draw.choice(("\n", "\r\n", "\n")).join(lines).encode()
    if draw.random() < 0.1:
        at = draw.randrange(len(raw) + 1)
        raw = raw[:at] + draw.choice((b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\0", b"\xfe\xff")) + raw[at:]
    return raw


def as_bomb(draw: Random) -> bytes:
    """A study with something in it that YAML has and a study has not."""
    lines = draw.choice(studies())[0].splitlines(keepends=True)
    if draw.random() < 0.005:
        lines.append("x: " + draw.choice(("a" * (1 << 20), "[" + "1, " * 200_000 + "1]", "\n" * (1 << 20))))
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(BOMBS))
    return "".join(lines).encode("utf-8", "surrogatepass")


KINDS = {"tree": (as_tree, 6), "text": (as_text, 3), "bomb": (as_bomb, 1)}
"""Name -> (what writes such a config, its share)."""


def overrides(draw: Random) -> list[str]:
    """Settings of the command line, mostly none."""
    if draw.random() < 0.9:
        return []
    key = draw.choice(
        (
            "task.seed",
            "weights.n",
            "engine.workers",
            "task",
            "task.objectives.0",
            "seeds.9",
            "a..b",
            "",
            "method.training.steps",
        )
    )
    return [f"{key}{draw.choice(('=', ''))}{draw.choice(('1', '-1', '[', '{a: 1}', '*x', '!!python/name:os.system', 'x' * 999, '')) }"]  # fmt: skip


def chunk(seed: int, number: int, n: int, folder: Path) -> Outcome:
    """What `pareto sweep` says of so many configs, before it would do anything."""
    from pareto.errors import ParetoError
    from pareto.study.run import resolve

    warnings.simplefilter("ignore")  # gymnasium's, of numbers that are not kept as they are
    draw = Random(f"configs {seed} {number}")
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    found: list[str] = []
    slowest = 0.0
    path = folder / "study.yaml"
    for item in range(n):
        kind = draw.choices(list(KINDS), [share for _, share in KINDS.values()])[0]
        path.write_bytes(KINDS[kind][0](draw))
        settings = overrides(draw)
        start = time.process_time()
        try:
            with _patience():
                study = resolve(path, settings, ())
                if (
                    draw.random() < 0.2
                    and resolve(_written(path, study.to_yaml()), (), ()).sha256 != study.sha256
                ):
                    found.append(f"item {item}: what was taken reads back as something else")
            counts["accepted"] += 1
        except ParetoError as error:
            counts["refused"] += 1
            text = str(error)
            reasons[
                text.partition(".yaml:")[2].partition(":")[2].strip().partition(";")[0].partition("'")[0][:60]
                or text[:30]
            ] += 1
            if not all(line.isprintable() for line in text.split("\n")) or len(text) > 20_000:
                found.append(f"item {item}: not one printable message: {text!r:.300}")
        except Exception as error:  # what the fuzzer looks for
            import traceback

            found.append(
                f"item {item}, {settings}: {type(error).__name__}: {error!s:.200}\n{traceback.format_exc()[-1500:]}"
            )
        slowest = max(slowest, time.process_time() - start)
    if (folder / SENTINEL).exists() or Path(SENTINEL).exists():
        found.append("a config ran something")
    problem = "\n".join(found[:3]) or None
    return Outcome("configs", counts["accepted"], counts["refused"], 0, 0, dict(reasons), problem, slowest)


def _written(path: Path, text: str) -> Path:
    again = path.with_name("again.yaml")
    again.write_text(text)
    return again


@contextmanager
def _patience() -> Iterator[None]:
    """Give up on what hangs."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"hangs for more than {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


FUZZ = Fuzz(name="configs", items=100_000, each=EACH, one=chunk)

if __name__ == "__main__":
    command(FUZZ, __doc__ or "")
