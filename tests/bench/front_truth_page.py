"""What bench_front_truth.py found, for people."""

from __future__ import annotations


def markdown(document: dict, tolerance: float) -> str:
    """The document as a page; `tolerance` is the relative difference that was asked for."""
    cells = document["bad_input"]
    broken = [f"{c['input']}, m = {c['m']}: {'; '.join(c['broken'])}" for c in cells if c["broken"]]
    lines = [
        "# Are the hypervolume tools right?",
        "",
        "Made by `python tests/bench/bench_front_truth.py`. " + ", ".join(f"{k}: {v}" for k, v in document["machine"].items()) + ".",
        "",
        f"Random fronts of every shape (cubes, spheres, ties, one flat objective, copies, points outside). Asked: {tolerance:g} relative "
        "(figures that are differences near 0: relative to 0.01).",
        "",
        "| tool | second way | m | fronts | largest relative difference | agrees |",
        "|---|---|---|---|---|---|",
        *(f"| {r['tool']} | {r['second_way']} | {r['m']} | {r['fronts']} | {r['largest_relative_difference']:.1e} | {'yes' if r['agrees'] else 'NO'} |" for r in document["exact"]),
        "",
        "Figures that state an error (95 %), and how often the truth lies within it:",
        "",
        "| tool | against | m | fronts | inside |",
        "|---|---|---|---|---|",
        *(f"| {r['tool']} | {r['against']} | {r['m']} | {r['fronts']} | {r['inside']} |" for r in document["estimates"]),
        "",
        "## Bad input",
        "",
        f"{len(cells)} cells (input x m), {sum(c['tools'] for c in cells)} calls: every tool must give the good points the figures that they have without the bad row, "
        "without crash, hang (10 s), or loss.",
        "",
        *([f"- {line}" for line in broken] or ["No cell is broken."]),
        "",
        "| input | m | calls | broken |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for what in dict.fromkeys(c["input"] for c in cells):
        of = [c for c in cells if c["input"] == what]
        lines.append(f"| {what} | {', '.join(str(c['m']) for c in of)} | {sum(c['tools'] for c in of)} | {sum(len(c['broken']) for c in of)} |")  # fmt: skip
    return "\n".join(lines) + "\n"
