"""docs/operate.md says what is so: every setting with its default, every command that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from pydantic.fields import FieldInfo

from breakglass import config
from breakglass.demo.place import ROOT

PAGE = (ROOT / "docs/operate.md").read_text()


def row(name: str, field: FieldInfo) -> str:
    """The line of the settings table for one field of the configuration."""
    default = "" if field.is_required() else _shown(field.default)
    return f"| `{config.PREFIX}{name.upper()}` | {default} | {field.description} |"


def _shown(default: object) -> str:
    return "" if default == "" or default is False else f"`{default}`"


@pytest.mark.parametrize("name", sorted(config.Config.model_fields))
def test_each_setting_stands_in_the_table(name: str) -> None:
    assert row(name, config.Config.model_fields[name]) in PAGE.splitlines()


def test_no_other_setting_is_named() -> None:
    known = {config.PREFIX + name.upper() for name in config.Config.model_fields}
    assert set(re.findall(r"BREAKGLASS_[A-Z_]+[A-Z]", PAGE)) <= known


def test_each_command_exists() -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", PAGE))
    assert named
    assert named <= set(get_commands()), "a command that isn't there"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/architecture.md", "docs/operate.md", "docs/decisions.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", file.read_text())
    missing = [link for link in links if "://" not in link and not (Path(file.parent) / link).exists()]
    assert missing == []
