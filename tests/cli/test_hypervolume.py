"""`pareto hypervolume`: any table in, indicators out, and a gate for CI."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

CSV = "name,score,cost\na,3,1\nb,2,2\nc,1,3\nd,1,1\n"


@pytest.fixture
def table(tmp_path):
    def write(name="points.csv", text=CSV):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_figures_front_and_counts(pareto, table):
    code, out, err = pareto(
        "hypervolume", table(), "--maximise", "score", "--maximise", "cost", "--ref-point", "0,0"
    )
    assert (code, err) == (0, "")
    assert "3 of 4 not dominated, 0 not better than the reference point, 0 set aside" in out
    assert "hypervolume              6\n" in out
    assert "a (line 2)" in out
    assert "d (line 5)" not in out


def test_directions_and_named_reference_point(pareto, table):
    arguments = ["--maximise", "score", "--minimise", "cost", "--ref-point", "cost=4,score=0", "--json"]
    code, out, _ = pareto("hypervolume", table(), *arguments)
    found = json.loads(out)
    assert code == 0
    assert found["indicators"]["hypervolume"] == 9.0  # only a counts: 3 x (4 - 1)
    assert found["ref_point"] == [0.0, 4.0]
    assert found["objectives"][1] == {"name": "cost", "direction": "min", "unit": "reward"}
    assert [p["values"]["cost"] for p in found["points"]] == [1, 2, 3, 1]
    assert [p["non_dominated"] for p in found["points"]] == [True, False, False, False]
    # without a: the boxes of b (2 x 2) and d (1 x 3), which share 2, so 9 - 5
    assert [p["hypervolume_contribution"] for p in found["points"]] == [4.0, 0.0, 0.0, 0.0]


def test_objectives_may_be_left_out_where_there_is_no_doubt(pareto, table):
    assert "hypervolume              6\n" in pareto("hypervolume", table(), "--ref-point", "0,0")[1]
    assert (
        "hypervolume              6\n" in pareto("hypervolume", table(), "--ref-point", "score=0,cost=0")[1]
    )
    code, _, err = pareto("hypervolume", table(), "--ref-point", "0")
    assert code == 2
    assert "name the objectives with --maximise and --minimise" in err
    assert "score, cost" in err


def test_negative_reference_points_are_not_options(pareto, table):
    assert "hypervolume              13\n" in pareto("hypervolume", table(), "--ref-point", "-1,-1")[1]
    assert "hypervolume              13\n" in pareto("hypervolume", table(), "--ref-point=-1,-1")[1]


def test_rows_that_are_not_finite_are_counted_and_named(pareto, table):
    dirty = table(text=CSV + "e,nan,9\nf,,9\ng,9,inf\n")
    code, out, _ = pareto("hypervolume", dirty, "--ref-point", "0,0")
    assert code == 0
    assert "hypervolume              6\n" in out
    assert "3 set aside" in out
    for line in (
        "set aside: e (line 6) (nan in score)",
        "f (line 7) (nan in score)",
        "g (line 8) (inf in cost)",
    ):
        assert line in out
    code, out, _ = pareto("hypervolume", dirty, "--ref-point", "0,0", "--json", "--require", "quarantined<=0")
    assert code == 4
    assert json.loads(out)["quarantined"][0] == {"id": "e (line 6)", "why": "nan in score"}


def test_points_outside_are_counted(pareto, table):
    _, out, _ = pareto("hypervolume", table(), "--ref-point", "1,1")
    assert "3 not better than the reference point" in out


@pytest.mark.parametrize(
    ("requirement", "code"),
    [("hypervolume>=6", 0), ("hypervolume>6", 4), ("cardinality<=3", 0), ("outside_ref_point>0", 4)],
)
def test_requirements(pareto, table, requirement, code):
    found, out, err = pareto("hypervolume", table(), "--ref-point", "0,0", "--require", requirement)
    assert found == code
    assert "hypervolume " in out  # what was measured is always there to read
    assert ("is required" in err) == (code == 4)


def test_requirements_that_make_no_sense(pareto, table):
    code, _, err = pareto("hypervolume", table(), "--ref-point", "0,0", "--require", "hypervolum>=6")
    assert code == 2
    assert "did you mean 'hypervolume'" in err
    assert pareto("hypervolume", table(), "--ref-point", "0,0", "--require", "hypervolume=6")[0] == 2


def test_an_unread_pipe_does_not_open_the_gate(table):
    command = [sys.executable, "-m", "pareto.cli", "hypervolume", str(table()), "--ref-point", "0,0"]
    script = f"import sys; from pareto.cli import main; sys.stdout.close(); sys.exit(main({command[3:]!r} + ['--require', 'hypervolume>=7']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr


def test_further_indicators(pareto, table):
    front = table("front.csv", "score,cost\n3,3\n")
    arguments = [
        "--ref-point",
        "0,0",
        "--reference-front",
        front,
        "--indicator",
        "igd",
        "--indicator",
        "epsilon_additive",
    ]
    code, out, _ = pareto("hypervolume", table(), *arguments)
    assert code == 0
    assert "epsilon_additive         1\n" in out
    code, _, err = pareto("hypervolume", table(), "--ref-point", "0,0", "--indicator", "igd")
    assert code == 2
    assert "needs reference_front" in err
    code, _, err = pareto("hypervolume", table(), "--ref-point", "0,0", "--indicator", "igdd")
    assert code == 2
    assert "did you mean" in err


def test_an_approximate_figure_says_so(pareto, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "p.npz", values=np.abs(rng.normal(size=(25, 6))))
    arguments = ["hypervolume", tmp_path / "p.npz", "--ref-point", "0,0,0,0,0,0"]
    assert "approximate" not in pareto(*arguments, "--budget-s", "60")[1].splitlines()[2]
    assert "(approximate, 95 %)" in pareto(*arguments, "--budget-s", "-1")[1].splitlines()[2]


def rows():
    return [
        {"name": n, "score": float(s), "cost": float(c)}
        for n, s, c in (x.split(",") for x in CSV.split()[1:])
    ]


@pytest.mark.parametrize("kind", ["json", "jsonl", "tsv", "csv.gz", "npz", "npz columns", "parquet"])
def test_every_format_of_table(pareto, tmp_path, kind):
    path = tmp_path / f"points.{kind.split()[0]}"
    if kind == "json":
        path.write_text(json.dumps(rows()))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    elif kind == "tsv":
        path.write_text(CSV.replace(",", "\t"))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(CSV.encode()))
    elif kind == "npz":
        np.savez(path, values=[[r["score"], r["cost"]] for r in rows()])
    elif kind == "npz columns":
        np.savez(path, **{key: [r[key] for r in rows()] for key in ("score", "cost")})
    else:
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow (extra `parquet`)")
        import pandas

        pandas.DataFrame(rows()).to_parquet(path)
    code, out, err = pareto("hypervolume", path, "--maximise", "score,cost", "--ref-point", "0,0")
    assert (code, err) == (0, "")
    assert "hypervolume              6\n" in out


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (CSV, ["--maximise", "scor,cost", "--ref-point", "0,0"], "did you mean 'score'"),
        (CSV, ["--maximise", "name,cost", "--ref-point", "0,0"], ":2: name: expected a number; got 'a'"),
        (CSV, ["--maximise", "score", "--minimise", "score", "--ref-point", "0,0"], "doubled: score"),
        (CSV, ["--maximise", "score,cost", "--ref-point", "0"], "needs 2 numbers (score, cost); got 1"),
        (CSV, ["--ref-point", "0,x"], "expected numbers such as"),
        (CSV, ["--ref-point", "nan,0"], "must be finite"),
        (CSV, ["--maximise", "score,cost", "--ref-point", "score=0"], "missing: cost"),
        (CSV, ["--maximise", "score", "--ref-point", "score=0,cots=0"], "unknown objective 'cots'"),
        (CSV, ["--ref-point", "0,0", "--id", "who"], "no column 'who'"),
        ("", ["--ref-point", "0,0"], "empty"),
        ("score,cost\n3,1,4\n", ["--ref-point", "0,0"], ":2:"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_2(pareto, table, text, arguments, message):
    code, out, err = pareto("hypervolume", table(text=text), *arguments)
    assert code == 2
    assert message in err
    assert out == ""


def test_a_file_that_is_not_there(pareto, tmp_path):
    code, _, err = pareto("hypervolume", tmp_path / "no.csv", "--ref-point", "0,0")
    assert code == 2
    assert "no.csv" in err


def test_it_needs_numpy_pandas_and_moocore_only(table):
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'scipy', 'matplotlib', 'pydantic', 'gymnasium', 'rich', 'yaml'):\n"
        "    sys.modules[name] = None\n"  # an import of any of them fails
        "from pareto.front import hypervolume\n"
        "from pareto.cli import main\n"
        f"sys.exit(main(['hypervolume', {str(table())!r}, '--ref-point', '0,0']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hypervolume              6\n" in done.stdout
