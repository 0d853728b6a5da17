"""Every format gives the same rows; every kind of broken file is named with its line."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto.data import files, table_rows
from pareto.data import json_rows as json_text
from pareto.data.bad_rows import BadRows
from pareto.errors import DataError

ROWS = [
    {"prompt": "Why?", "chosen": "Because\nit is.", "rejected": 'No, "really".', "weight": 2.0},
    {"prompt": "Où ça ?", "chosen": "là, 日本", "rejected": "ici;", "weight": None},
]


def read(path, bad=None):
    return list(files.read_rows(path, bad or BadRows()))


def as_csv(rows, delimiter=","):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(rows[0])
    writer.writerows([["" if v is None else v for v in r.values()] for r in rows])
    return out.getvalue()


FORMS = {
    ".jsonl": "".join(json.dumps(r) + "\n" for r in ROWS),
    ".json": json.dumps(ROWS, indent=1),
    ".csv": as_csv(ROWS),
    ".tsv": as_csv(ROWS, "\t"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix", FORMS)
def test_every_format_gives_the_same_rows(tmp_path, suffix, zipped):
    data = FORMS[suffix].encode()
    path = tmp_path / f"rows{suffix}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert [row for _, row in read(path)] == ROWS


def test_parquet_gives_the_same_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert read(path) == [(1, ROWS[0]), (2, ROWS[1])]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(path)


def test_json_lines_may_be_called_json(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(FORMS[".jsonl"])
    assert [row for _, row in read(path)] == ROWS


def test_nested_columns_of_a_csv(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        'prompt,responses,preferences.helpful,preferences.brief,label\nq,"[""a"",""b""]",1,,true\n'
    )
    assert read(path) == [
        (
            2,
            {
                "prompt": "q",
                "responses": ["a", "b"],
                "preferences": {"helpful": 1.0, "brief": None},
                "label": True,
            },
        )
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "\xff"}', "not UTF-8: byte 0xff at column 13"),
        (b'{"prompt": "half', "ends in the middle of a value"),
        (b'{"prompt": ', "ends in the middle of a value"),
        (b"[1, 2]", "must be a JSON object; got list"),
        (b'{"weight": NaN}', "NaN is not a JSON number"),
        (b"nonsense", "not JSON"),
        (b'{"a":' * 50_000, "not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_bad_line_is_named_and_can_be_skipped(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(DataError, match=rf"rows\.jsonl:3: .*{reason}"):
        read(path)
    bad = BadRows("skip")
    assert read(path, bad) == [(1, {"a": 1}), (4, {"a": 2})]
    assert bad.n == 1
    assert reason in bad.examples[0]


def test_an_enormous_line_is_skipped_without_reading_it_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_ROW_BYTES", 2**16)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": "' + b"x" * 2**18 + b'"}\n{"a": 2}\n')
    bad = BadRows("skip")
    assert read(path, bad) == [(2, {"a": 2})]
    assert "longer than" in bad.examples[0]


def test_bad_rows_of_a_csv(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,weight\nq,heavy\nq,1,2\n\xff,1\nq,1\n")
    bad = BadRows("skip")
    assert read(path, bad) == [(5, {"prompt": "q", "weight": 1.0})]
    assert [e.partition("rows.csv:")[2] for e in bad.examples] == [
        "2: column 'weight' must hold a number; got 'heavy'",
        "3: the row has 3 cells, the header 2",
        "4: not UTF-8: in column 'prompt'",
    ]


def test_too_many_bad_rows(tmp_path):
    bad = BadRows("skip", max_bad=0.5)
    bad.add(tmp_path, 1, "a reason")
    bad.check(2)
    with pytest.raises(DataError, match=r"1 of 1 rows are bad \(100.00%\), at most 50.00%"):
        bad.check(1)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rows.jsonl", b"", "the file is empty"),
        ("rows.jsonl.gz", LFS, "Git-LFS pointer"),
        ("rows.parquet", LFS, "Git-LFS pointer"),
        ("rows.txt", b"x", "must end in .jsonl"),
        ("rows.jsonl.gz", b"not gzip at all", "broken or cut short"),
        ("rows.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-9], "broken or cut short"),
        ("rows.json", b'"text"', ":1: a .json file must hold a list of objects"),
        ("rows.json", b'[\n{"a": 1},\n{"a": ', "rows.json:3: .*cut short"),
        ("rows.json", b'[\n{"a": 1}\n{"a": 2}]', "one comma must stand between"),
        ("rows.json", b'[\n{"a": 1}', "cut short"),
        ("rows.csv", b"a,a\n1,2\n", "column names must be unique"),
        ("rows.csv", b"scores,scores.a\n1,2\n", "speak of the same"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read(path, BadRows("skip", 1.0))


def test_a_bad_element_of_a_list_hides_none_behind_it(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(
        b'[{"a": 1},\n{"a": NaN},\n{"a": "\xff"},\n7,\n{"a": [-Infinity, "NaN"]},\n{"a": 1'
        + b"0" * 5000
        + b'},\n{"a": 2}]'
    )
    bad = BadRows("skip", 1.0)
    assert read(path, bad) == [(1, {"a": 1}), (7, {"a": 2})]
    reasons = [example.partition("rows.json:")[2] for example in bad.examples]
    assert [reason.partition(":")[0] for reason in reasons] == ["2", "3", "4", "5", "6"]
    for reason, words in zip(
        reasons, ("NaN is not", "not UTF-8", "must be a JSON object", "-Infinity is", "4300 digits")
    ):
        assert words in reason


def test_a_bad_value_of_a_parquet_file_spoils_its_row_only(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    raw = pyarrow.array([b"x", b"\xff", b"z"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())  # says it is text, and is none
    days = pyarrow.array([0, 0, -(10**9)], pyarrow.date32())  # the third is long before the year 1
    parquet.write_table(pyarrow.table({"a": text, "d": days}), tmp_path / "rows.parquet")
    bad = BadRows("skip", 1.0)
    assert [number for number, _ in read(tmp_path / "rows.parquet", bad)] == [1]
    assert "rows.parquet:2: not UTF-8: byte 0xff" in bad.examples[0]
    assert "rows.parquet:3: a value cannot be read" in bad.examples[1]


def test_a_small_parquet_file_that_says_a_long_text_many_times_is_read_row_by_row(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": ["x" * 10_000] * 100}), path)
    monkeypatch.setattr(table_rows, "BATCH_BYTES", 25_000)  # two texts of 10,000 and something
    at_a_time = []
    rows = table_rows._rows
    monkeypatch.setattr(table_rows, "_rows", lambda batch: at_a_time.append(batch.num_rows) or rows(batch))
    assert len(read(path)) == 100
    assert set(at_a_time) == {2}


def test_an_absent_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "rows.jsonl")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
json_rows = st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=4), max_size=5)


@settings(max_examples=60, deadline=None)
@given(rows=json_rows, indent=st.sampled_from([None, 0, 2]), chunk=st.integers(1, 40))
def test_a_json_list_is_read_in_pieces_as_the_json_module_reads_it_whole(
    tmp_path_factory, rows, indent, chunk
):
    text = json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return  # half a surrogate pair cannot stand in a UTF-8 file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", chunk)
        pieces = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8")
        got = list(
            json_text._list_elements(pieces, pieces.read(chunk), tmp_path_factory.getbasetemp(), BadRows())
        )
    assert [row for _, row in got] == rows
    assert all(text.decode().count("\n") + 1 >= line >= 1 for line, _ in got)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".jsonl.gz"]))
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("fuzz") / f"rows{suffix}"
    path.write_bytes(content)
    try:
        for _, row in read(path, BadRows("skip", 1.0)):
            assert isinstance(row, dict)
    except DataError:
        pass
