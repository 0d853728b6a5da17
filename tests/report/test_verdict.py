from collections.abc import Callable
from typing import Any

import pytest

from pareto.report import Report


def edited(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def edit(front: dict[str, Any]) -> None:
        for path, value in changes.items():
            *parents, last = path.split("__")
            at: Any = front
            for key in parents:
                at = at[int(key) if key.isdigit() else key]
            at[last] = value

    return edit


def test_the_verdict_of_an_ordinary_run(report: Callable[..., Report]) -> None:
    stated = {
        "indicators__hypervolume": 2.00312,
        "indicators__hypervolume_ci95": [1.93911, 2.04488],
        "indicators__hypervolume_selection": 2.15,
    }
    verdict = report("stated", edit=edited(ref_point=[-0.108, -0.143], **stated)).runs[0].verdict
    assert verdict.headline == "Hypervolume 2.003, 95 % interval 1.939 to 2.045"
    assert verdict.facts == [
        "9 policies over 1 seed, each scored on 256 held-out prompts.",
        "Reported on units that no choice rests on: 2.003; on the units that choices rest on it reads 2.15.",
        "Reference point (helpful −0.108, brief −0.143): the nadir of the corner policies less 10 % of their "
        "range, on the selection split: no reported value had a part in it.",
        "7 of 9 not dominated, 0 not better than the reference point, 1 quarantined, 1 failed.",
        "Optimality 0.957 on prompts trained on, 0.884 on held-out prompts (1 is the exact optimum, 0 the untrained "
        "reference).",
    ]
    assert verdict.flags == [
        "1 policy is quarantined and left out of every indicator.",
        "1 cell failed; the rest stands.",
    ]


@pytest.mark.parametrize(("ratio", "flagged"), [(1.03, True), (1.02, False), (0.97, False)])
def test_not_at_equal_strength_above_two_percent(
    report: Callable[..., Report], ratio: float, flagged: bool
) -> None:
    made = report(f"ratio {ratio}", edit=edited(exact__hypervolume_ratio=ratio))
    assert any(f.startswith("Not at equal strength") for f in made.runs[0].verdict.flags) is flagged


def test_values_from_the_selection_split_are_flagged(report: Callable[..., Report]) -> None:
    made = report("selected", edit=edited(policies__0__split="selection"))
    assert any("selection split, not from held-out data" in f for f in made.runs[0].verdict.flags)


def test_a_reference_point_at_the_nadir_is_flagged(report: Callable[..., Report]) -> None:
    def at_nadir(front: dict[str, Any]) -> None:
        front["ref_point"][1] = min(p["values"]["brief"] for p in front["policies"])

    flags = report("nadir", edit=at_nadir).runs[0].verdict.flags
    assert any("exactly at the worst value of brief" in f for f in flags)


def test_policies_outside_are_counted_aloud(report: Callable[..., Report]) -> None:
    verdict = report("outside", edit=edited(indicators__outside_ref_point=2)).runs[0].verdict
    assert any("2 not better than the reference point" in fact for fact in verdict.facts)
    assert "2 policies are not better than the reference point and contribute nothing." in verdict.flags


def test_an_imported_run_says_what_is_not_known(report: Callable[..., Report]) -> None:
    verdict = report("imported", sparse=True, exact=False).runs[0].verdict
    assert "interval" not in verdict.headline
    assert verdict.facts[0] == "9 policies over 1 seed."
    assert verdict.flags == ["No interval: the run holds no per-unit scores to compute one from."]


def test_without_any_indicator(report: Callable[..., Report]) -> None:
    made = report(
        "bare", sparse=True, exact=False, edit=edited(indicators={}, ref_point=None, ref_point_rule=None)
    )
    assert made.runs[0].verdict.headline == "Hypervolume not known"
    assert "No reference point." in made.runs[0].verdict.facts


def test_seeds_are_also_told_apart(report: Callable[..., Report]) -> None:
    made = report("seeds", seeds=3).runs[0]
    assert made.seeds is not None
    mean = sum(s.hypervolume for s in made.seeds.rows) / 3
    assert made.verdict.facts[0].startswith("27 policies over 3 seeds")
    assert made.verdict.facts[1].startswith(f"One seed at a time: hypervolume {mean:.3f}")


def test_an_approximate_hypervolume_says_how_far_it_may_be_off(report: Callable[..., Report]) -> None:
    made = report("approximate", edit=edited(indicators__hypervolume_error=0.0123))
    assert any("approximate, within ±0.0123" in f for f in made.runs[0].verdict.flags)


def test_an_imported_rule_claims_no_selection_split(report: Callable[..., Report]) -> None:
    made = report("imported rule", sparse=True, exact=False, edit=edited(ref_point_rule="corners-10%"))
    assert (
        made.runs[0].verdict.facts[1].endswith("the nadir of the corner policies less 10 % of their range.")
    )
