"""What offloading_study.py writes: a page and a picture."""

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pareto.report import canvas
from tests.bench.offloading_figures import SHOWN

DRAWN = ("random", "linucb", "greedy", "nsga2")


def picture(rows, costs, mix, path):
    """Fronts of some rows with intervals, and how the servers chosen move with the preference."""
    with canvas.theme():
        drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
        FigureCanvasSVG(drawn)
        left, right = drawn.subplots(1, 2)
        learned = [k for k, r in rows.items() if r.wide and "placed" not in k][:2]
        drawn_rules = [k for k in DRAWN if k in costs]
        for i, key in enumerate((*drawn_rules, *learned)):
            c = costs[key]
            mean = c.mean(axis=1)
            error = 1.96 * c.std(axis=1, ddof=1) / np.sqrt(c.shape[1])
            left.errorbar(
                mean[:, 0], mean[:, 1], error[:, 1], error[:, 0], fmt=canvas.MARKERS[i], ms=3, lw=0.6,
                color=canvas.RUNS[i], label=rows[key].title,
            )  # fmt: skip
        highest = 1.15 * max(costs[k].mean(axis=1)[:, 1].max() for k in drawn_rules if k != "random")
        left.set(xlabel="delay of all tasks, s", ylabel="energy, J", xscale="log", ylim=(None, highest))
        left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        left.legend(frameon=False)
        weights, shares = mix
        base = np.zeros(len(weights))
        for server in range(shares.shape[1]):
            label = "cloud" if server == 0 else ("edge servers" if server == 1 else None)
            colour = canvas.RUNS[0] if server == 0 else canvas.RUNS[1]
            top = base + shares[:, server]
            right.fill_between(weights, base, top, color=colour, alpha=1 - 0.1 * server, lw=0, label=label)
            base = top
        right.set(xlabel="weight of delay", ylabel="share of tasks", xlim=(0, 1), ylim=(0, 1))
        right.legend(frameon=True, loc="upper left")
        drawn.savefig(path, metadata={"Date": None})


def interval(middle, low, high):
    return f"{middle:.4f} [{low:.4f}, {high:.4f}]"


def text(facts, rows_of):
    """Lines of study.md; `rows_of` a system are its rows by name."""
    yield "# Dispatchers for every preference and every edge system"
    yield ""
    yield (
        "Written by `python -m tests.bench.offloading_study`; no figure is edited by hand. "
        "Held-out episodes, the same for every policy; the reference points were frozen by "
        "[calibration](calibration.json) before. Ratios are to the greedy rule in equal steps of the weight, with 95 % "
        "intervals of paired resamples. *Placed*: 101 preferences whose weight of delay is the fourth power of equal steps."
    )
    yield ""
    for run in facts["runs"]:
        yield (
            f"- {run['study']}: `{run['method']}`, {run['env_steps']:,} decisions, {run['wall_s']:,.0f} s of a machine shared with other work "
            f"([config]({run['config']}))."
        )
    for name, system in facts["systems"].items():
        kinds, rows = system["hypervolume"], rows_of[name]
        yield from ("", f"## {name}, {system['episodes']} episodes", "")
        yield "| row | policies | hypervolume, rule point | to greedy | inner point, to greedy | double point, to greedy |"
        yield "|---|---:|---:|---:|---:|---:|"
        for key, row in rows.items():
            cells = [interval(kinds[k][key]["to_greedy"], *kinds[k][key]["to_greedy_ci95"]) for k in kinds]
            title = row.title + (", placed" if key.endswith("placed") else "")
            volume = kinds["rule"][key]["hypervolume"]
            yield f"| {title} | {row.policies} | {volume:,.0f} | " + " | ".join(cells) + " |"
        box = " | ".join(f"{kinds[k]['box']['to_greedy']:.4f}" for k in kinds)
        yield f"| box from the best corners of all rows | | | {box} |"
        yield ""
        yield (
            f"At the rule point {100 * system['step_left_out']:.1f} % of greedy's hypervolume lie between its first two "
            "preferences in equal steps, 0 and .01, where no policy of a later preference can go. The box is no front: it "
            "has the least delay at the least energy. The region behind the tangents at the least weighted cost of any row, "
            "which holds every mixture of policies that are no better at any preference, has "
            + ", ".join(
                f"{v:.4f}" + (f" (costs {100 * float(k):g} % lower)" if float(k) else "")
                for k, v in system["tangent_ceilings"].items()
            )
            + " of it."
        )
        yield ""
        yield (
            "The paper reports 1.107 of LinUCB's hypervolume and 2.21 of random choice's, each at a reference point made from the "
            "policies compared, so that its figures and these have different units. Here, at the rule, inner and double point:"
        )
        yield ""
        for key, row in rows.items():
            if row.wide and row.policies == 101 and not key.endswith("placed"):
                shares = (
                    ", ".join(
                        f"{kinds[k][key]['hypervolume'] / kinds[k][rule]['hypervolume']:.3f}" for k in kinds
                    )
                    for rule in ("linucb", "random")
                )
                yield f"- {row.title}: " + " of LinUCB's; ".join(shares) + " of random choice's"
        yield ""
        yield "Weighted cost in equal steps, to greedy's:"
        yield ""
        yield "| row | " + " | ".join(f"weight of delay {i / 100:g}" for i in SHOWN) + " |"
        yield "|---|" + "---:|" * len(SHOWN)
        for key, values in system["weighted_cost"].items():
            yield f"| {rows[key].title} | " + " | ".join(interval(*v) if v else "" for v in values) + " |"
        if system["beside_separate"]:
            yield from (
                "",
                "Hypervolume of one conditioned dispatcher to that of separately trained ones, at their preferences:",
            )
            yield ""
        for key, ratios in system["beside_separate"].items():
            yield f"- {key}: " + ", ".join(f"{r:.4f} ({kind})" for kind, r in ratios.items())
    if facts["tiny"]:
        yield from ("", "## Tiny instance", "")
        yield "Share of the exact supported front's hypervolume that 101 preferences reach (the greedy rule: .965):"
        yield ""
        yield from (f"- `{method}`: {share:.4f}" for method, share in facts["tiny"].items())
