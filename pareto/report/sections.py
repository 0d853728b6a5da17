"""The sections of one run, from its front to its provenance. Each is a function of the report's tree."""

from __future__ import annotations

from pareto.objectives import Objectives
from pareto.report import figures, wording
from pareto.report.front_section import front_section
from pareto.report.groups import groups_table
from pareto.report.markup import Markup, join, tag
from pareto.report.measuring import objectives_of
from pareto.report.parts import Column, facts, large, note, panel, section, table
from pareto.report.policy_table import policy_table
from pareto.report.rounds import rounds_table
from pareto.report.tree import RunReport


def run_sections(r: int, run: RunReport, level: int) -> list[tuple[str, str, Markup]]:
    """All sections of a run that have something to say: (key, short title, markup), in reading order.

    Args:
        r: the run's place in the report.
        run: the run.
        level: heading level of a section.
    """
    objectives = objectives_of(run)
    made = [
        ("front", "Front", front_section(r, run, objectives)),
        ("steering", "Steering", _steering(r, run, objectives)),
        ("policies", "Policies", policy_table(r, run, objectives)),
        ("groups", "Groups", groups_table(r, run)),
        ("rounds", "Rounds", rounds_table(run)),
        ("texts", "Texts", _texts(r, run)),
        ("seeds", "Seeds", _seeds(r, run, objectives)),
        ("excluded", "Excluded", _excluded(run)),
        ("cost", "Cost", _cost(run)),
        ("provenance", "Provenance", _provenance(run)),
    ]
    return [
        (f"{name}-{r}", title, section(f"{name}-{r}", level, _TITLES[name], content))
        for name, title, content in made
        if content
    ]


_TITLES = {
    "front": "The front",
    "steering": "Requested weight, delivered value",
    "policies": "Policies",
    "groups": "Groups",
    "rounds": "How the weights were chosen",
    "texts": "Texts along the front",
    "seeds": "Across seeds",
    "excluded": "Quarantined and failed",
    "cost": "Cost",
    "provenance": "Provenance",
}


def _steering(r: int, run: RunReport, objectives: Objectives) -> Markup | None:
    if not run.steering:
        return None
    panels = [
        panel(
            figures.steering(r, run, objectives, k),
            f"Delivered {row.objective} against its requested weight",
            tag("strong", row.objective),
            f" \u03c4 {wording.fixed(row.tau, 2)}",
        )
        for k, row in enumerate(run.steering)
    ]
    summary = table(
        "How each objective answers to its weight",
        [
            Column("Objective", [row.objective for row in run.steering], number=False),
            Column("Kendall \u03c4", [wording.fixed(row.tau, 3) for row in run.steering]),
            Column(
                "Pairs in order",
                [
                    wording.UNKNOWN
                    if row.concordant is None
                    else f"{wording.fixed(100 * row.concordant, 1)} %"
                    for row in run.steering
                ],
            ),
            Column("Largest reversal", [wording.number(row.largest_reversal) for row in run.steering]),
            Column("Policies", [str(row.policies) for row in run.steering]),
        ],
        css="small",
    )
    return join(
        [
            tag("div", panels, class_="panels"),
            note(
                "\u03c4 is 1 where more weight always delivered more, 0 where weights did nothing. Pairs in order: of all "
                "pairs of policies with different weights, the share in which more weight delivered at least as much."
            ),
            summary,
        ]
    )


def _texts(r: int, run: RunReport) -> Markup | None:
    if not run.samples:
        return None
    names = [o.name for o in run.objectives]
    by_label = {p.label: (i, p) for i, p in enumerate(run.policies)}
    blocks = []
    for row in run.samples:
        replies = []
        for reply in row.replies:
            i, policy = by_label[reply.policy]
            replies.append(
                tag(
                    "figure",
                    tag(
                        "figcaption",
                        tag("strong", f"#{policy.label}"),
                        " ",
                        wording.weights_text(names, policy.weights),
                    ),
                    tag("blockquote", reply.text or "(empty)"),
                    tag("p", wording.figures_text(reply.rewards), class_="rewards")
                    if reply.rewards
                    else None,
                    data_p=f"{r}-{i}",
                )
            )
        blocks.append(
            tag(
                "article",
                tag("p", row.prompt, class_="prompt"),
                tag("div", replies, class_="replies"),
                class_="sample",
            )
        )
    return join([note("The same prompts, answered from one end of the front to the other."), blocks])


def _seeds(r: int, run: RunReport, objectives: Objectives) -> Markup | None:
    seeds = run.seeds
    if seeds is None:
        return None
    n = len(seeds.rows)
    written = wording.column([row.hypervolume for row in seeds.rows])
    rows = table(
        "Hypervolume of every seed alone",
        [
            Column("Seed", [str(row.seed) for row in seeds.rows]),
            Column("Policies", [str(row.policies) for row in seeds.rows]),
            Column("Hypervolume", [written(row.hypervolume) for row in seeds.rows]),
        ],
        css="small",
    )
    drawn = None
    if seeds.surfaces:
        counts = ", ".join(str(s.seeds) for s in seeds.surfaces)
        drawn = large(
            lambda w, h: figures.attainment(r, run, objectives, w, h),
            f"Attainment surfaces of {' and '.join(objectives.names)} over {n} seeds",
            f"What at least {counts} of the {n} seeds attain: the stronger the line, the more seeds.",
        )
    shown, interval = wording.with_interval(seeds.interquartile_mean, seeds.interquartile_mean_ci95)
    about = f"Interquartile mean {shown}, 95 % interval over seeds {interval}; all against the same reference point."
    return join([note(about), drawn, rows])


def _excluded(run: RunReport) -> Markup | None:
    rows = [("quarantined", entry) for entry in run.quarantined] + [("failed", entry) for entry in run.failed]
    if not rows:
        return None
    return table(
        "What is left out, and why",
        [
            Column(
                "Id",
                [tag("code", str(e.get("id") or e.get("cell") or wording.UNKNOWN)) for _, e in rows],
                number=False,
            ),
            Column("What", [kind for kind, _ in rows], number=False),
            Column("Why", [str(e.get("why") or wording.UNKNOWN) for _, e in rows], number=False),
        ],
        css="small wrap",
    )


def _cost(run: RunReport) -> Markup | None:
    pairs = [
        (title, wording.duration(run.cost[name]) if name == "wall_s" else wording.fixed(run.cost[name], 0))
        for name, title in wording.COSTS.items()
        if run.cost.get(name)
    ]
    if not pairs:
        return None
    return join([facts(pairs), _growth(run)])


def _growth(run: RunReport) -> Markup | None:
    if run.growth is None:
        return None
    unit = wording.named(wording.COSTS, run.growth.cost_unit).lower()
    band = any(step.ci95 is not None for step in run.growth.steps)
    return large(
        lambda w, h: figures.growth(run, w, h),
        f"Hypervolume against {unit}",
        f"What the first jobs reach, in the order in which they were planned{', the mean over seeds' if run.seeds else ''}"
        f"{'; the band is the 95 % interval over units' if band else ''}.",
        sizes=((880, 320), (344, 260)),
    )


def _provenance(run: RunReport) -> Markup | None:
    known = dict(run.provenance)
    versions = known.pop("versions", None) or {}
    pairs: list[tuple[str, str]] = [("Run folder", tag("code", run.name))]
    pairs += [
        (name.replace("_", " ").capitalize(), tag("code", str(value)))
        for name, value in known.items()
        if value not in (None, "", {}, [])
    ]
    if versions:
        pairs.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    config = (
        tag("details", tag("summary", "Configuration"), tag("pre", tag("code", run.config)))
        if run.config
        else None
    )
    return tag("div", facts(pairs), config, class_="provenance")
