"""One YAML file = one study: what is learned (task), how (method), at which weights and seeds, how it is scored and run."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, SerializeAsAny, field_validator, model_validator
from pydantic.json_schema import models_json_schema

from pareto.cells import digest
from pareto.config import (
    Config,
    Document,
    Key,
    dotted,
    dump_yaml,
    from_mapping,
    override,
    read_yaml,
    validate,
)
from pareto.env_loader import refuse_unimported
from pareto.errors import ConfigError, ObjectiveError, UnknownNameError
from pareto.methods import METHODS
from pareto.registry import Registry
from pareto.state.trackers import Tracker
from pareto.tasks import TASKS

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class EarlyConfig(Config):
    """Stop weights before their training is over.

    Every weight vector but the corners is trained for the share `at` of its steps and scored on the selection split; those
    that the rule keeps are trained on.

    Args:
        rule: "dominated" stops a weight vector when some other policy is better in every objective with probability
            `confidence` (resampled units); "halving" keeps the half that has the largest hypervolume as a set.
        at: share of the steps after which is looked.
        confidence: of the rule "dominated".
    """

    rule: Literal["dominated", "halving"]
    at: float = Field(default=0.5, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class WeightsConfig(Config):
    """Which weights the policies are trained for.

    Args:
        kind: how weights are chosen; "cells" takes the centres of a lattice's cells.
        n: how many, where the kind can be told a number.
        divisions: lattice divisions, in place of `n`.
        corners: add the m single-objective corners.
        list: the weights themselves, objective -> number each; for kind "list" only.
        seed: seed of kinds that draw.
        batch: weights chosen at a time by kinds that look at results; the next ones wait for these.
        pool: lattice divisions of the weights that such kinds choose from; None takes about 500 weights.
        model: how "qlognehvi" sees values: as the gradient of the best utility, or every objective for itself.
        epsilon: "linear_support" ends once no policy could be better by more, in utility.
        patience: kinds that look at results end after so many batches that raised the selection split's hypervolume by
            less than its standard error.
        scale: "ranges" divides weights by the ranges of the objectives over the corners (run first) and normalises them.
            It helps where rewards have very different units, and hurts where a KL penalty ties weights to rewards.
        warm_start: train a policy from the nearest one of an earlier batch, with this share of the steps.
        early: stop weights that do not pay before their training is over.
    """

    kind: str = "cells"
    n: int | None = Field(default=None, ge=1, le=100_000)
    divisions: int | None = Field(default=None, ge=0, le=10_000)
    corners: bool = True
    list: tuple[Mapping[str, float], ...] | None = Field(default=None, min_length=1)
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=2, ge=1, le=1000)
    pool: int | None = Field(default=None, ge=0, le=1000)
    model: Literal["gradient", "independent"] = "gradient"
    epsilon: float | None = Field(default=None, ge=0)
    patience: int | None = Field(default=None, ge=1)
    scale: Literal["none", "ranges"] = "none"
    warm_start: float | None = Field(default=None, gt=0, le=1)
    early: EarlyConfig | None = None

    @model_validator(mode="after")
    def _one_size(self) -> WeightsConfig:
        if self.n is not None and self.divisions is not None:
            raise ValueError(f"give n or divisions, not both; got n={self.n} and divisions={self.divisions}")
        if (self.kind == "list") != (self.list is not None):
            raise ValueError(f"key 'list' belongs to kind 'list' and to no other; got kind {self.kind!r}")
        if self.scale == "ranges" and not self.corners:
            raise ValueError("scale: ranges measures the ranges on the corners; remove corners: false")
        return self


class ScoreConfig(Config):
    """How policies are measured.

    Args:
        ref_point: objective -> number in the objective's own direction; None takes the stated rule and freezes it.
        samples: texts or trajectories kept per policy, for people to read.
    """

    ref_point: Mapping[str, float] | None = None
    samples: int = Field(default=4, ge=0, le=1000)


class EngineConfig(Config):
    """Where cells run. Only `threads`, `device` and `dtype` can change a result.

    Args:
        kind: "local" (a pool of processes), "ray" (the machines of a cluster), or "launched" (all processes that
            `accelerate launch` or `torchrun` started train each cell together).
        workers: cells at the same time.
        threads: compute threads per cell; part of the config because it can change the last bits of a sum.
        device: torch device string, or "auto".
        dtype: arithmetic of training; "auto" is bfloat16 on graphics cards that have it and float32 elsewhere.
        gpus: cards per cell, which its process alone sees; a share such as 0.5 puts several cells on one. None: one where
            there are any and the device may be one.
        memory_gib: main memory per cell; one that asks for more fails, and takes nothing else with it.
        max_attempts: how often a cell that dies is tried before it counts as failed.
        trackers: who hears of metrics besides metrics/<cell>.jsonl; those that write files do so in the folder trackers/.
    """

    kind: Literal["local", "ray", "launched"] = "local"
    workers: int = Field(default=2, ge=1, le=1024)
    threads: int = Field(default=1, ge=1, le=256)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    gpus: float | None = Field(default=None, ge=0, le=64)
    memory_gib: float | None = Field(default=None, gt=0)
    max_attempts: int = Field(default=3, ge=1, le=100)
    trackers: tuple[Tracker, ...] = ()

    @field_validator("gpus")
    @classmethod
    def _whole_or_shared(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"a cell takes whole cards or a share of one; got {gpus}")
        return gpus


class StudyConfig(Config):
    """A whole study, every default filled in.

    Args:
        study: name; also the default name of the run folder.
        task: instance of the class registered under `task.kind`.
        method: instance of the class registered under `method.name`.
        weights: which weights are trained for.
        seeds: every weight vector is fitted once per seed.
        score: how policies are measured.
        engine: where cells run.
        imports: modules imported before names are looked up. Comes from the command line, never from a file: a config
            found in a run folder must not run code.
    """

    study: str = Field(pattern=STUDY_NAME)
    task: Annotated[SerializeAsAny[Config], PlainValidator(lambda value: _build(TASKS, "kind", value))]
    method: Annotated[SerializeAsAny[Config], PlainValidator(lambda value: _build(METHODS, "name", value))]
    weights: WeightsConfig = WeightsConfig()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    score: ScoreConfig = ScoreConfig()
    engine: EngineConfig = EngineConfig()
    imports: tuple[str, ...] = ()

    @field_validator("seeds")
    @classmethod
    def _unique(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ; got {list(seeds)}")
        return seeds

    @property
    def task_kind(self) -> str:
        """The name the task is registered under."""
        return _registered_name(TASKS, self.task, "kind")

    @property
    def method_name(self) -> str:
        """The name the method is registered under."""
        return _registered_name(METHODS, self.method, "name")

    def to_json(self) -> dict[str, Any]:
        """The resolved study as plain values that `load_study` reads back; imports stay out."""
        plain = self.model_dump(mode="json", exclude={"imports"})
        plain["task"] = {"kind": self.task_kind} | plain["task"]
        plain["method"] = {"name": self.method_name} | plain["method"]
        return plain

    def to_yaml(self) -> str:
        """The resolved study as YAML text that `load_study` reads back."""
        needs = "".join(f"# needs: --import {module}\n" for module in self.imports)
        return needs + dump_yaml(self.to_json())

    @property
    def sha256(self) -> str:
        """Digest of everything that can change a result: all but imports and, of the engine, what cannot."""
        plain = self.to_json()
        plain["engine"] = {k: plain["engine"][k] for k in ("threads", "device", "dtype")}
        return digest(plain)


def load_study(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), imports: Iterable[str] = ()
) -> StudyConfig:
    """Read a study from a YAML file or a mapping.

    Args:
        source: path of a YAML file, or the same content as a mapping.
        overrides: ``key=value`` settings, applied in order; dotted keys, values read as YAML. A section given in part, here or
            in the file, takes the defaults of its own class for the rest, never those of the field that it replaces.
        imports: modules to import first, so that what they register can be named. Only callers give these.

    Raises:
        ConfigError: with file, line and key: unknown key or name, wrong type or value, an objective that is not there.
    """
    document = from_mapping(source) if isinstance(source, Mapping) else read_yaml(source)
    document = override(document, overrides)
    if "imports" in document.data:
        raise ConfigError(
            f"{document.place(('imports',))}: a config never imports code; remove 'imports' and say --import MODULE"
        )
    imports = tuple(imports)
    for module in imports:
        import_module(module)
    shapes = {}
    for section, tag, registry in (("task", "kind", TASKS), ("method", "name", METHODS)):
        if section in document.data:
            shapes[(section,)] = _registered_class(registry, (section, tag), document)
    study = validate(StudyConfig, document, shapes=shapes)
    _check_objectives(study, document)
    return study.model_copy(update={"imports": imports})


def load_stored_study(path: Path, overrides: Iterable[str] = (), imports: Iterable[str] = ()) -> StudyConfig:
    """Read the study that a run folder holds: as `load_study`, and no environment's module is imported for it.

    Raises:
        ConfigError: as `load_study`.
        ArtifactError: its environment lies in a module that is not among the imports.
    """
    for module in imports:
        import_module(module)
    task = override(read_yaml(path), overrides).data.get("task")
    refuse_unimported(task.get("id") if isinstance(task, dict) else None, f"{path}: task.id")
    return load_study(path, overrides, imports)


def json_schema() -> dict[str, Any]:
    """JSON schema of a study, with every registered task and method as a tagged union."""
    sections = {"task": ("kind", TASKS), "method": ("name", METHODS)}
    models: dict[str, type[Any]] = {}
    for section, (_, registry) in sections.items():
        models |= {f"{section}.{entry.name}": entry.value for entry in registry}
    parts = [WeightsConfig, ScoreConfig, EngineConfig]
    refs, schema = models_json_schema([(m, "validation") for m in [*parts, *models.values()]])
    definitions = schema.get("$defs", {})
    ref = {model: refs[(model, "validation")] for model in [*parts, *models.values()]}
    union = {}
    for section, (tag, registry) in sections.items():
        choices = []
        for entry in registry:
            tagged = {"properties": {tag: {"const": entry.name}}, "required": [tag]}
            choices.append(
                _merged(definitions, ref[entry.value], tagged)
                | {"title": entry.name, "description": entry.summary}
            )
        union[section] = {"oneOf": choices}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pareto study",
        "type": "object",
        "additionalProperties": False,
        "required": ["study", "task", "method"],
        "properties": {
            "study": {"type": "string", "pattern": STUDY_NAME},
            **union,
            "weights": ref[WeightsConfig],
            "seeds": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
                "uniqueItems": True,
                "default": [0],
            },
            "score": ref[ScoreConfig],
            "engine": ref[EngineConfig],
        },
        "$defs": definitions,
    }


def _merged(definitions: dict[str, Any], ref: Mapping[str, Any], tagged: Mapping[str, Any]) -> dict[str, Any]:
    """A registered class's schema with its tag made a required constant."""
    own = dict(definitions[str(ref["$ref"]).rpartition("/")[2]])
    own["properties"] = tagged["properties"] | {
        k: v for k, v in own.get("properties", {}).items() if k not in tagged["properties"]
    }
    own["required"] = [
        *tagged["required"],
        *(k for k in own.get("required", []) if k not in tagged["required"]),
    ]
    return own


def _build(registry: Registry[Any], tag: str, value: Any) -> Config:
    """A section as an instance of its registered class; instances pass."""
    if isinstance(value, Config):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get(tag), str):
        raise ValueError(f"expected a mapping with the key {tag!r}; got {value!r:.80}")
    found = registry.get(value[tag])
    plain = dict(value) if tag in found.model_fields else {k: v for k, v in value.items() if k != tag}
    return found.model_validate_json(json.dumps(plain), strict=True)


def _registered_class(registry: Registry[Any], key: tuple[str, str], document: Document) -> type[Config]:
    section = document.data[key[0]]
    name = section.get(key[1]) if isinstance(section, dict) else None
    place = document.place(key)
    if not isinstance(name, str):
        raise ConfigError(
            f"{place}: key {dotted(key)!r} must name a {registry.kind}; got {name!r:.80}; known: {', '.join(registry.names())}"
        )
    if not name.isidentifier():
        raise ConfigError(
            f"{place}: {dotted(key)} must be a name of letters, digits and underscores; got {name!r:.80}"
        )
    try:
        return registry.get(name)
    except UnknownNameError as error:
        raise ConfigError(f"{place}: {dotted(key)}: {error}") from error


def _registered_name(registry: Registry[Any], instance: Config, tag: str) -> str:
    """The field called like the tag where the class has one, else the registry's name for the class."""
    if tag in type(instance).model_fields:
        return getattr(instance, tag)
    return next(entry.name for entry in registry if entry.value is type(instance))


def _check_objectives(study: StudyConfig, document: Document) -> None:
    named: list[tuple[Key, Mapping[str, float]]] = [
        (("weights", "list", i), w) for i, w in enumerate(study.weights.list or ())
    ]
    if study.score.ref_point is not None:
        named.append((("score", "ref_point"), study.score.ref_point))
    for key, mapping in named:
        try:
            study.task.objectives.vector(mapping)  # type: ignore[attr-defined]  # every task has objectives
        except ObjectiveError as error:
            raise ConfigError(f"{document.place(key)}: {dotted(key)}: {error}") from error


def import_module(module: str) -> None:
    """Import a module named by the user, from the current folder too."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--import {module}: expected a module that can be imported from here or from the installed packages; {error}"
        ) from error
