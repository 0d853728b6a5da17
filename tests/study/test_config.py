"""Studies are read strictly, and every message names file, line, key, what was expected and what came."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pareto.config import Config, dump_yaml, override, parse_yaml, read_yaml, validate
from pareto.errors import ConfigError
from pareto.methods import METHODS
from pareto.objectives import Objectives
from pareto.study.config import StudyConfig, json_schema, load_study
from pareto.tasks import TASKS


class Toy(Config):
    """A toy task."""

    kind: Literal["toy"] = "toy"
    prompts: int = 8
    names: tuple[str, ...] = ("a", "b")

    @property
    def objectives(self) -> Objectives:
        return Objectives(self.names)


class Fit(Config):
    """A toy method that carries no name of its own."""

    beta: float = Field(default=0.1, gt=0)
    lr: float = 1e-4


class Parted(Config):
    """A toy method with a section whose defaults are not its class's own."""

    part: Fit = Fit(lr=0.5)


class Named(Config):
    """A toy method that carries its name."""

    name: Literal["named"] = "named"


@pytest.fixture(autouse=True)
def toys(temporary):
    temporary(TASKS, METHODS, empty=True)
    TASKS.register("toy", source="made up for this test")(Toy)
    METHODS.register("fit", source="made up for this test")(Fit)
    METHODS.register("parted", source="made up for this test")(Parted)
    METHODS.register("named", source="made up for this test")(Named)


TEXT = """\
# pareto sweep x.yaml
study: first
task:
  kind: toy
  prompts: 5
method:
  name: fit
  lr: 1e-5
"""


@pytest.fixture
def path(tmp_path):
    def write(text: str = TEXT):
        file = tmp_path / "x.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_a_study_is_read_and_defaults_are_filled(path):
    study = load_study(path())
    assert (study.task, study.method) == (Toy(prompts=5), Fit(lr=1e-5))
    assert (study.task_kind, study.method_name) == ("toy", "fit")
    assert (study.seeds, study.weights.kind, study.score.samples, study.engine.workers) == (
        (0,),
        "cells",
        4,
        2,
    )


def test_the_resolved_text_reads_back_to_the_same_study(path, tmp_path):
    study = load_study(path(), ["seeds=[3, 5]", "weights.kind=list", "weights.list=[{a: 0.25, b: 0.75}]"])
    again = tmp_path / "resolved.yaml"
    again.write_text(study.to_yaml())
    assert load_study(again) == study
    assert load_study(again).sha256 == study.sha256
    assert load_study(study.to_json()) == study


@pytest.mark.parametrize(
    ("text", "overrides"),
    [("method: {name: parted, part: {beta: 0.2}}", []), ("method: {name: parted}", ["method.part.beta=0.2"])],
    ids=["file", "set"],
)
def test_a_section_given_in_part_takes_its_own_defaults(path, text, overrides):
    """Committed studies rest on it: `round_ppo` of configs/dst_concave_cmorl.yaml says nothing of lr and means .001."""
    start = TEXT[: TEXT.index("method:")]
    assert load_study(path(f"{start}method: {{name: parted}}\n")).method == Parted(part=Fit(lr=0.5))
    assert load_study(path(f"{start}{text}\n"), overrides).method == Parted(part=Fit(beta=0.2, lr=1e-4))


def test_sha256_follows_what_changes_a_result_and_nothing_else(path):
    base = load_study(path())
    same = [f"engine.{x}" for x in ("workers=7", "max_attempts=1", "kind=ray")]
    assert {load_study(path(), [s]).sha256 for s in same} == {base.sha256}
    other = [
        "engine.threads=2",
        "engine.dtype=bfloat16",
        "seeds=[1]",
        "task.prompts=6",
        "method.beta=0.2",
        "method={name: named}",
    ]
    assert len({base.sha256, *(load_study(path(), [o]).sha256 for o in other)}) == 1 + len(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + "sead: 1\n", r"x\.yaml:9: unknown key 'sead' \(did you mean 'seeds'\?\)"),
        (TEXT.replace("prompts", "promts"), r"x\.yaml:5: unknown key 'task\.promts' \(did you mean 'prompts'\?\)"),
        (TEXT.replace("1e-5", "'1e-5'"), r"x\.yaml:8: method\.lr: expected a valid number; got '1e-5'"),
        (TEXT.replace("prompts: 5", "prompts: 5.5"), r"x\.yaml:5: task\.prompts: expected a valid integer.*got 5\.5"),
        (TEXT + "  beta: 0\n", r"x\.yaml:9: method\.beta: expected greater than 0; got 0"),
        (TEXT.replace("kind: toy", "kind: toi"), r"x\.yaml:4: task\.kind: unknown task 'toi' \(did you mean 'toy'\?\)"),
        (TEXT.replace("kind: toy", "kind: a.b"), r"x\.yaml:4: task\.kind must be a name of letters"),
        (TEXT.replace("  kind: toy\n", ""), r"x\.yaml:3: key 'task\.kind' must name a task"),
        (TEXT.replace("name: fit", "name: 3"), r"x\.yaml:7: key 'method\.name' must name a method; got 3"),
        ("study: first\n", r"x\.yaml:1: key 'task' is needed and not there\n.*x\.yaml:1: key 'method' is needed"),
        (TEXT + "seeds: [1, 1]\n", r"x\.yaml:9: seeds: seeds must differ"),
        (TEXT + "seeds: []\n", r"x\.yaml:9: seeds: "),
        (TEXT + "study: again\n", r"x\.yaml:9: key 'study' stands twice, in lines 2 and 9"),
        (TEXT + "imports: [os]\n", r"x\.yaml:9: a config never imports code"),
        (TEXT + "weights: {n: 3, divisions: 2}\n", r"x\.yaml:9: weights: give n or divisions, not both"),
        (TEXT + "weights: {kind: list}\n", r"x\.yaml:9: weights: key 'list' belongs to kind 'list'"),
        (TEXT + "score:\n  ref_point: {a: 0, c: 0}\n", r"x\.yaml:10: score\.ref_point: unknown objective 'c'"),
        (TEXT + "weights: {kind: list, list: [{a: 1}]}\n", r"x\.yaml:9: weights\.list\.0: .*missing: b"),
        (TEXT + "engine: {dtype: float16}\n", r"x\.yaml:9: engine\.dtype: expected 'auto', 'float32' or 'bfloat16'; got 'float16' \(did you mean"),
        (TEXT.replace("first", "../up"), r"x\.yaml:2: study: "),
    ],
)  # fmt: skip
def test_a_wrong_study_names_file_line_and_key(path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(path(text))
    assert caught.value.exit_code == 2


def test_all_problems_come_at_once(path):
    with pytest.raises(ConfigError) as caught:
        load_study(path(TEXT.replace("prompts", "promts") + "  beta: -1\nengine: {workers: 0}\n"))
    assert len(str(caught.value).splitlines()) == 3


def test_overrides_replace_add_and_are_named_in_messages(path):
    study = load_study(path(), ["task.prompts=11", "weights.n=4", "task.names=[x, y, z]", "task.names.1=w"])
    assert study.task == Toy(prompts=11, names=("x", "w", "z"))
    assert study.weights.n == 4
    for setting, message in [
        ("task.prompts=many", r"^--set task\.prompts=many: task\.prompts: expected a valid integer"),
        ("task.promts=1", r"^--set task\.promts=1: unknown key 'task\.promts' \(did you mean 'prompts'"),
        ("study.x=1", r"'study' is 'first'; expected a mapping"),
        ("task.prompts", r"expected --set key=value"),
        ("a..b=1", r"expected --set key=value"),
        ("task=[1", r"--set task=\[1:1: expected"),
        ("imports=[os]", r"^--set imports=\[os\]: a config never imports"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_study(path(), [setting])


def test_imports_come_from_the_caller_and_stay_out_of_the_file(path, tmp_path, monkeypatch):
    (tmp_path / "my_pareto_extra.py").write_text(
        "from pareto.config import Config\nfrom pareto.methods import METHODS\n\n"
        "@METHODS.register('mine', source='me')\nclass Mine(Config):\n    '''Mine.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    study = load_study(path(TEXT.replace("name: fit\n  lr: 1e-5", "name: mine")), imports=["my_pareto_extra"])
    assert study.method_name == "mine"
    assert study.imports == ("my_pareto_extra",)
    assert study.to_yaml().startswith("# needs: --import my_pareto_extra\n")
    assert "imports" not in study.to_json()
    with pytest.raises(ConfigError, match=r"--import not_there_at_all: expected a module"):
        load_study(path(), imports=["not_there_at_all"])


def test_objects_in_memory_make_a_study_too():
    study = StudyConfig(study="s", task=Toy(), method=Named())
    assert load_study(study.to_json()) == study


def test_the_schema_lists_every_task_and_method_by_its_tag():
    schema = json_schema()
    json.dumps(schema)
    methods = {c["properties"]["name"]["const"]: c for c in schema["properties"]["method"]["oneOf"]}
    assert set(methods) == {"fit", "named", "parted"}
    assert methods["fit"]["required"] == ["name"]
    assert methods["fit"]["additionalProperties"] is False
    assert methods["fit"]["properties"]["beta"]["exclusiveMinimum"] == 0
    assert schema["properties"]["task"]["oneOf"][0]["properties"]["kind"] == {"const": "toy"}
    refs = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema))
    assert set(refs) <= set(schema["$defs"])


# ------------------------------------------------------------------------------------------------ YAML itself


def test_scalars_follow_yaml_1_2():
    text = "{a: 1e-5, b: no, c: on, d: true, e: 0x1F, f: 0o17, g: 1_000, h: 1:30, i: 2024-01-01, j: ~, k: -1.5E+3, l: 007, yes: 1}"
    assert parse_yaml(text).data == {
        "a": 1e-5, "b": "no", "c": "on", "d": True, "e": 31, "f": 15, "g": "1_000", "h": "1:30",
        "i": "2024-01-01", "j": None, "k": -1500.0, "l": 7, "yes": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", r"f:1: tags are not read"),
        ("a: &x 1\nb: *x", r"f:2: aliases .* are not read"),
        ("a: " + "[" * 100_000, r"f:1: nesting may be at most 32"),
        ("a:\n b: 1\n b: 2", r"f:3: key 'a\.b' stands twice, in lines 2 and 3"),
        ("a: .nan", r"f:1: a number must be finite"),
        ("a: 1e999", r"f:1: a number must be finite"),
        ("a: " + "9" * 5000, r"f:1: a number may have at most 100"),
        ("a: 1\n---\nb: 1", r"f:2: "),
        ("? [a]\n: 1", r"f:1: a key must be a word"),
        ("- 1", r"f: expected keys and values"),
        ("", r"f: expected keys and values"),
        ("a: 'x", r"f:1: "),
        ("a: \x01", r"f: not readable as YAML"),
    ],
)
def test_what_is_outside_the_subset_is_refused_with_its_line(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f")


def test_what_does_not_print_is_written_out():
    """A key can move a terminal's cursor; in a message it cannot."""
    for text in (
        'study: x\n"\\e[1m": 1\n',
        'study: "\\e[1m"\n',
        '"\\u2028": 1\nstudy: x\ntask: {kind: "\\0"}\n',
    ):
        with pytest.raises(ConfigError) as caught:
            validate(StudyConfig, parse_yaml(text))
        assert all(line.isprintable() for line in str(caught.value).split("\n"))
    with pytest.raises(ConfigError) as caught:
        override(parse_yaml("a: 1"), ["\x1b[1m.b.c"])
    assert str(caught.value).isprintable()


def test_a_thousand_wrong_keys_are_one_message():
    text = "study: x\n" + "".join(f"k{i}: 1\n" for i in range(1000))
    with pytest.raises(
        ConfigError, match=r"config: and 982 more$"
    ) as caught:  # 1,000 unknown and two missing, 20 named
        validate(StudyConfig, parse_yaml(text))
    assert len(str(caught.value).split("\n")) == 21


def test_files_are_bounded_and_utf8(tmp_path):
    file = tmp_path / "f.yaml"
    with pytest.raises(ConfigError, match=r"expected a readable config file .*No such file"):
        read_yaml(file)
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: expected UTF-8 text; got the byte 0xff"):
        read_yaml(file)
    file.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="may be at most 1048576 bytes"):
        read_yaml(file)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(["no", "1e-5", "0o7", "~", "1_0", "2024-01-01", "=", "<<"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcno1~:", max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["a", "b", "no", "1"]), PLAIN, max_size=3))
def test_what_is_dumped_reads_back(data):
    assert parse_yaml(dump_yaml(data) if data else "{}").data == data


class Cat(Config):
    """A member of a union."""

    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(Config):
    """Another member."""

    kind: Literal["dog"] = "dog"
    bark: float | None = None


class Zoo(Config):
    """A list of union members."""

    pets: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...] = ()
    by_name: dict[str, Cat] = {}  # noqa: RUF012  # frozen by the model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pets:\n - kind: cat\n   livs: 1", r"f:3: unknown key 'pets\.0\.livs' \(did you mean 'lives'\?\)"),
        ("pets:\n - kind: dog\n   bark: loud", r"f:3: pets\.0\.bark: expected a valid number; got 'loud'"),
        ("pets:\n - kind: fish", r"f:2: pets\.0: .*'fish'.*'cat', 'dog'"),
        ("by_name:\n  tom: {lives: '9'}", r"f:2: by_name\.tom\.lives: expected a valid integer; got '9'"),
    ],
)
def test_keys_inside_unions_and_mappings_are_named_without_labels(text, message):
    with pytest.raises(ConfigError, match=message):
        validate(Zoo, parse_yaml(text, "f"))


def test_lists_become_tuples_and_a_list_item_can_be_overridden():
    document = override(parse_yaml("pets: [{kind: cat}, {kind: dog}]"), ["pets.1.bark=2"])
    assert validate(Zoo, document).pets == (Cat(), Dog(bark=2.0))
