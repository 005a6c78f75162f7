"""One good playbook as text, and a way to spoil it."""

from __future__ import annotations

from pathlib import Path

from playbooks.loader import CatalogErrors, LoadedPlaybook, load_catalog
from playbooks.reading import Problem

GOOD = """\
schema_version: 1
slug: pump-down
title: Pump station down
purpose: Bring the pump station's server back
owner: Water operations
asset_class: hmi
risk: medium
assets:
  - hmi-02
logins: [operator]
channels: [shell, exec]
duration:
  default_minutes: 30
  max_minutes: 60
clock:
  starts: approval
approvers:
  groups: [ot-leads]
  count: 1
runbook: |
  ## Steps

  1. Look.
"""


def spoilt(old: str, new: str) -> str:
    """The good playbook with one thing changed; the thing must be there."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def load_text(folder: Path, text: str, name: str = "one.yaml") -> LoadedPlaybook:
    (folder / name).write_text(text, encoding="utf-8")
    (loaded,) = load_catalog(folder)
    return loaded


def problems_of(folder: Path, text: str | bytes, name: str = "one.yaml") -> tuple[Problem, ...]:
    raw = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(raw)
    try:
        load_catalog(folder)
    except CatalogErrors as errors:
        return errors.problems
    raise AssertionError("the catalogue was taken")
