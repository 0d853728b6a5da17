import pytest

from pareto.report import wording


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (-0.0, "0"),
        (512, "512"),
        (4812312.0, "4,812,312"),
        (3.14159, "3.14"),
        (-0.04567, "−0.0457"),
        (123.456, "123"),
        (1.5e-7, "1.50e−7"),
        (2.25e12, "2.25e12"),
        (0.999, "0.999"),
    ],
)
def test_numbers(x: float | None, text: str) -> None:
    assert wording.number(x) == text


def test_a_column_shows_its_spread() -> None:
    written = wording.column([103.121, 103.158, None])
    assert [written(v) for v in (103.121, 103.158, None)] == ["103.121", "103.158", "–"]
    assert wording.column([1.2, 0.07])(0.07) == "0.07"
    assert wording.column([3.0, 4.0])(3.0) == "3"
    assert wording.column([])(None) == "–"


def test_no_negative_zero_and_a_true_minus() -> None:
    assert wording.fixed(-0.001, 2) == "0.00"
    assert wording.fixed(-1.5, 1) == "−1.5"


def test_an_interval_decides_the_digits() -> None:
    assert wording.with_interval(3.10432, [3.0012, 3.2033]) == ("3.10", "3.00 to 3.20")
    assert wording.with_interval(3.10432, None) == ("3.10", "")
    assert wording.with_interval(2.0, [2.0, 2.0]) == ("2", "2 to 2")


def test_durations() -> None:
    assert [wording.duration(s) for s in (None, 41.6, 187.4, 7500)] == ["–", "42 s", "3 min 7 s", "2 h 5 min"]
