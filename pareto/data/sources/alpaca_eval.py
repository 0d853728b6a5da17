"""Outputs of several systems on the AlpacaEval instructions, with their judged win against one baseline system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pareto.data.bad_rows import BadRows, RowError
from pareto.data.files import Row, read_rows
from pareto.data.sources import SOURCES
from pareto.data.texts import parse_string


@SOURCES.register(
    "alpaca_eval", source="tatsu-lab/alpaca_eval, model_outputs.json and annotations (Apache-2.0)"
)
def alpaca_eval(path: Path, bad: BadRows) -> Iterator[Row]:
    """Read rows {instruction, generator, output, win} as one row of scored responses per instruction.

    The scores are `win`, the judged probability that the output beats the baseline system's, and `brevity`, minus its
    number of characters.

    Which pairs mean something: `win` of system s is a judgement of s *against the baseline*. So a pair (s, baseline)
    was judged directly: the baseline's own win is .5 on every row by construction (a text against itself), and s wins
    the pair where its win is above .5. A pair of two other systems was never judged; win(s) > win(t) says only that s
    came nearer to the baseline. Most wins lie below .01, where both lost for certain and the order of the two numbers
    is the judge's rounding: give `win` a band (.05 or more), so that such pairs are ties and only those remain in
    which one system got visibly closer. `brevity` needs a band that is a share of the length.

    Args:
        path: any file `read_rows` reads.
        bad: told of every row that cannot be used.

    Yields:
        The line where an instruction first appears, and its row.
    """
    first_line: dict[str, int] = {}
    outputs: dict[str, list[str]] = {}
    scores: dict[str, list[dict[str, float]]] = {}
    for line, row in read_rows(path, bad):
        try:
            instruction, output, win = _fields(row)
        except RowError as error:
            bad.add(path, line, str(error))
            continue
        first_line.setdefault(instruction, line)
        outputs.setdefault(instruction, []).append(output)
        scores.setdefault(instruction, []).append({"win": win, "brevity": -float(len(output))})
    for instruction, line in first_line.items():
        yield line, {"prompt": instruction, "responses": outputs[instruction], "scores": scores[instruction]}


def _fields(row: dict[str, Any]) -> tuple[str, str, float]:
    instruction = parse_string(row.get("instruction"), "instruction")
    output = parse_string(row.get("output"), "output")
    win = row.get("win")
    if isinstance(win, bool) or not isinstance(win, (int, float)) or not 0 <= win <= 1:
        raise RowError(f"'win' must be a probability; got {str(win)[:40]!r}")
    if not output.strip():
        raise RowError("'output' is empty")
    return instruction, output, float(win)
