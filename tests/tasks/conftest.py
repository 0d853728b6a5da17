from __future__ import annotations

from tests.lab_fixtures import lab_reference, small_lab

__all__ = ["lab_reference", "small_lab"]
