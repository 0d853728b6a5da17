"""Strict configuration: YAML that means what it says, read into frozen models that cannot hold nonsense.

Scalars follow YAML 1.2: `1e-5` is a number, only `true` and `false` are booleans, `no` is a word. A doubled key, a tag,
an alias or a number that is not finite is an error; every error names the file, the line, the key, what was expected,
what came, and the nearest valid name.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pareto.errors import ConfigError, did_you_mean, printable

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_LINES = 20
"""Wrong keys that one message names; the rest are counted."""

Key = tuple[str | int, ...]
"""Where a value stands: ("weights", "list", 0, "helpful")."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Config(BaseModel):
    """Base of every configuration: frozen, strict, no unknown keys. A method or task that subclasses it *is* its config."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, protected_namespaces=()
    )


@dataclass(frozen=True)
class Document:
    """Plain values, and the place each of them came from.

    Args:
        data: JSON-able mapping.
        places: key -> "file:line" or the override that set it; a key without a place takes its nearest parent's.
        name: what to call the whole document in messages.
    """

    data: dict[str, Any]
    places: Mapping[Key, str] = field(default_factory=dict)
    name: str = "config"

    def place(self, key: Key) -> str:
        """Where a key stands, as well as it is known."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, self.name)


def dotted(key: Key) -> str:
    """A key as people write it: ``weights.list.0.helpful``."""
    return ".".join(str(part) for part in key)


# ---------------------------------------------------------------------------------------------- reading YAML

_INT = re.compile(r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
_SCALARS = (
    ("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", _INT, list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes only, with the YAML 1.2 scalars, no tags, no aliases, bounded depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own shape; replaces the inherited YAML 1.1 ones
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _problem("aliases (*name) are not read; write the value again", event)
        if getattr(event, "tag", None) is not None:
            raise _problem(f"tags are not read; got {event.tag!r}", event)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _problem(f"nesting may be at most {MAX_DEPTH} deep", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes whatever any YAML version would take for something other than a word."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
_Dumper.yaml_implicit_resolvers = {
    c: [*_Loader.yaml_implicit_resolvers.get(c, []), *yaml.SafeDumper.yaml_implicit_resolvers.get(c, [])]
    for c in {*_Loader.yaml_implicit_resolvers, *yaml.SafeDumper.yaml_implicit_resolvers}
}


def _problem(text: str, thing: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=thing.start_mark)


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file of at most 1 MiB.

    Raises:
        ConfigError: not there, too large, not UTF-8, not YAML, or YAML outside the strict subset; with the line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"expected a readable config file at {path}; {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: a config may be at most {MAX_BYTES} bytes; this one is larger")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: expected UTF-8 text; got the byte {raw[error.start]:#04x}"
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str = "config") -> Document:
    """Read YAML text whose top level is a mapping.

    Raises:
        ConfigError: with name, line and the offending text.
    """
    places: dict[Key, str] = {}
    data = _parse(text, name, places)
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: expected keys and values at the top level; got {_show(data)}")
    return Document(data, places, name)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text that `parse_yaml` reads back to equal values, keys in their order."""
    return yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )


def _parse(text: str, name: str, places: dict[Key, str]) -> Any:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _value(node, (), name, places)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: {printable(error.problem or error.context)}") from error
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise ConfigError(
            f"{name}: not readable as YAML: {printable(' '.join(str(error).split()))}"
        ) from error


def _value(node: yaml.Node, key: Key, name: str, places: dict[Key, str]) -> Any:
    """The plain value of a node; files the line of everything in it under its key."""
    places.setdefault(key, f"{name}:{node.start_mark.line + 1}" if node.start_mark else name)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, name, places)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*key, i), name, places) for i, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, key: Key, name: str, places: dict[Key, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _problem("a key must be a word; got a list or a mapping", key_node)
        word, line = key_node.value, key_node.start_mark.line + 1
        if word in values:
            raise _problem(
                f"key {dotted((*key, word))!r} stands twice, in lines {lines[word]} and {line}; keep one",
                key_node,
            )
        lines[word] = line
        places[(*key, word)] = f"{name}:{line}"
        values[word] = _value(value_node, (*key, word), name, places)
    return values


def _scalar(node: yaml.Node) -> Any:
    text, tag = node.value, node.tag.rpartition(":")[2]
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag not in ("int", "float"):
        return text
    if len(text) > 100:
        raise _problem(f"a number may have at most 100 characters; got {len(text)}", node)
    if tag == "int":
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise _problem(f"a number must be finite; got {text}", node)
    return number


# ---------------------------------------------------------------------------------------------- overrides


def from_mapping(data: Mapping[str, Any], name: str = "config") -> Document:
    """A document from Python values: mappings, sequences, strings, numbers, booleans, None.

    Raises:
        ConfigError: something else inside, or a number that is not finite.
    """
    try:
        return Document(json.loads(json.dumps(data, allow_nan=False, default=_plain)), {}, name)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: expected plain values (as in JSON): {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{_show(value)} of type {type(value).__name__} is none")


def override(document: Document, settings: Iterable[str]) -> Document:
    """The document with `key=value` settings applied in order; keys are dotted, values are read as YAML.

    Raises:
        ConfigError: no equal sign, a key through something that holds no keys, or a value that is no YAML.
    """
    data = json.loads(json.dumps(document.data))
    places = dict(document.places)
    for setting in settings:
        name, equals, text = setting.partition("=")
        key: Key = tuple(name.strip().split("."))
        source = f"--set {printable(setting)}"
        if not equals or not all(key):
            raise ConfigError(f"expected --set key=value with a dotted key; got {source!r}")
        value = _parse(text, source, {})
        key = _assign(data, key, value, source)
        places = {k: v for k, v in places.items() if k[: len(key)] != key} | {key: source}
    return Document(data, places, document.name)


def _assign(data: Any, key: Key, value: Any, source: str) -> Key:
    """Set `data[key]` in place, making mappings on the way; returns the key with list positions as numbers."""
    done: Key = ()
    for i, word in enumerate(key):
        step = _step(data, str(word), done, source)
        done = (*done, step)
        if i == len(key) - 1:
            data[step] = value
        elif isinstance(data, dict) and data.get(step) is None:
            data[step] = {}
        data = data[step]
    return done


def _step(data: Any, word: str, done: Key, source: str) -> str | int:
    if isinstance(data, dict):
        return word
    if not isinstance(data, list):
        raise ConfigError(f"{source}: {dotted(done)!r} is {_show(data)}; expected a mapping there")
    if not word.isdecimal() or int(word) >= len(data):
        raise ConfigError(
            f"{source}: {dotted(done)!r} is a list of {len(data)}; expected a position in it, got {word!r}"
        )
    return int(word)


# ---------------------------------------------------------------------------------------------- validation


def validate(
    model: type[ModelT], document: Document, shapes: Mapping[Key, type[BaseModel]] | None = None
) -> ModelT:
    """Build a model from a document, strictly: lists become tuples, but "1" never becomes 1.

    Args:
        model: pydantic model, usually a `Config`.
        document: where the values come from.
        shapes: key -> model of the parts whose model is chosen by a registry, so that messages can name their keys.

    Raises:
        ConfigError: one line for each wrong key, with place, key, what was expected, what came, nearest valid key.
    """
    try:
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [
            printable(_explain(model, problem, document, shapes or {})) for problem in problems[:MAX_LINES]
        ]
        if more := len(problems) - len(lines):
            lines.append(f"{document.name}: and {more} more")
        raise ConfigError("\n".join(lines)) from error


def _explain(
    model: type[BaseModel],
    problem: Mapping[str, Any],
    document: Document,
    shapes: Mapping[Key, type[BaseModel]],
) -> str:
    key, owner = _locate(model, problem["loc"], shapes)
    place, name = document.place(key), dotted(key)
    if problem["type"] == "extra_forbidden":
        known = sorted(owner.model_fields)
        return f"{place}: unknown key {name!r}{did_you_mean(str(key[-1]), known)}; known: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{place}: key {name!r} is needed and not there"
    message = problem["msg"].removeprefix("Value error, ")
    if message.startswith("Input should "):
        message = f"expected {message.removeprefix('Input should ').removeprefix('be ')}; got {_show(problem['input'])}"
        if problem["type"] == "literal_error":
            choices = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
            message += did_you_mean(str(problem["input"]), choices)
    return f"{place}: {name}: {message}" if name else f"{place}: {message}"


def _locate(
    model: type[BaseModel], loc: Sequence[str | int], shapes: Mapping[Key, type[BaseModel]]
) -> tuple[Key, type[BaseModel]]:
    """The key a pydantic location means (labels of union members left out) and the model that owns its last part."""
    key: Key = ()
    owner, here = model, model
    for step in loc:
        members = _members(shapes.get(key, here))
        if len(members) > 1:  # the step is a union member's label, not a key
            here = next((m for m in members if _has_label(m, str(step))), members[0])
            continue
        here, key = members[0], (*key, step)
        if isinstance(here, type) and issubclass(here, BaseModel):
            owner = here
            here = here.model_fields[str(step)].annotation if str(step) in here.model_fields else Any
        else:
            here = next((a for a in reversed(get_args(here)) if a is not Ellipsis), Any)
    return key, owner


def _members(annotation: Any) -> list[Any]:
    """The members of a union without None; a single type stands for itself."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        found = [m for a in get_args(annotation) if a is not type(None) for m in _members(a)]
        return found or [Any]
    return [annotation]


def _has_label(member: Any, label: str) -> bool:
    if not (isinstance(member, type) and issubclass(member, BaseModel)):
        return label == getattr(member, "__name__", None)
    tags = [
        v
        for f in member.model_fields.values()
        if get_origin(f.annotation) is Literal
        for v in get_args(f.annotation)
    ]
    return label == member.__name__ or label in tags


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
