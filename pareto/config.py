"""Strict configuration: YAML that means what it says, read into frozen models that cannot hold nonsense."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every configuration: frozen, strict, no unknown keys. A method or task that subclasses it *is* its config."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, protected_namespaces=()
    )
