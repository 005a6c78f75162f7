"""Hostile or broken files are refused before anything is built of them; clashes between files are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from playbooks.digest import canonical_bytes
from playbooks.loader import CatalogErrors, load_catalog
from playbooks.reading import MAX_BYTES
from tests.playbooks_catalog.source import GOOD, load_text, problems_of, spoilt

BOMB = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"

REFUSED = [
    ("a duplicate key", GOOD.replace("owner:", "title: Again\nowner:"), 5, "title", "written twice"),
    (
        "a nested duplicate key",
        GOOD.replace("  count: 1", "  count: 1\n  count: 2"),
        20,
        "count",
        "written twice",
    ),
    ("an alias bomb", BOMB + GOOD, 1, "yaml", "anchors and aliases"),
    ("a lone anchor", spoilt("[operator]", "&x [operator]"), 10, "yaml", "anchors and aliases"),
    ("a python tag", spoilt("hmi-02", "!!python/object/apply:os.system [id]"), 9, "yaml", "tag"),
    ("a tag of its own", spoilt("Pump station down", "!secret x"), 3, "yaml", "tag"),
    ("a standard tag", spoilt("Pump station down", "!!binary aGk="), 3, "yaml", "tag"),
    ("a merge key", GOOD + "<<: {slug: other}\n", 24, "yaml", "merge keys"),
    ("a second document", GOOD + "---\nslug: x\n", 24, "yaml", "second document"),
    ("a list at the top", "- slug: x\n", 1, "file", "one mapping"),
    ("an empty file", "", 1, "file", "one mapping"),
    ("broken YAML", "schema_version: 1\nslug: [a\n", 3, "yaml", "isn't valid YAML"),
    ("a tab as indent", "duration:\n\tmax_minutes: 3\n", 2, "yaml", "isn't valid YAML"),
    ("a control character", GOOD.replace("Pump", "Pu\x07mp"), 1, "yaml", "isn't valid YAML"),
    ("deep nesting", "a: " + "[" * 50 + "]" * 50, 1, "yaml", "deeply nested"),
    ("very many nodes", "a: [" + "1," * 5000 + "1]", 1, "yaml", "too large"),
    ("a number as field name", GOOD + "5: x\n", 24, "5", "isn't a field name"),
    ("bytes that are no text", b"slug: x\ntitle: \xff\xfe\n", 2, "file", "UTF-8"),
    ("a file that is too large", "# " + "x" * MAX_BYTES + "\n" + GOOD, 1, "file", "larger than 256 KiB"),
]


@pytest.mark.parametrize(
    ("text", "line", "field", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_it_refuses(tmp_path: Path, text: str | bytes, line: int, field: str, message: str) -> None:
    found = problems_of(tmp_path, text)
    assert (found[0].line, found[0].field) == (line, field)
    assert message in found[0].message


def test_it_refuses_one_slug_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (found,) = problems_of(tmp_path, GOOD, "b.yaml")
    assert (Path(found.path).name, found.line, found.field) == ("b.yaml", 2, "slug")
    assert "already used by a.yaml" in found.message


def test_it_refuses_one_asset_in_two_classes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    other = spoilt("asset_class: hmi", "asset_class: historian").replace("pump-down", "other")
    (found,) = problems_of(tmp_path, other, "b.yaml")
    assert (found.line, found.field) == (9, "assets[0]")
    assert "hmi-02 is of class hmi in a.yaml" in found.message


def test_it_refuses_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text(GOOD)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.txt")
    with pytest.raises(CatalogErrors, match="isn't a regular file"):
        load_catalog(tmp_path)


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_an_empty_or_missing_folder_is_an_error_not_an_empty_catalogue(tmp_path: Path, missing: str) -> None:
    with pytest.raises(CatalogErrors, match=r"doesn't exist|holds no .yaml file"):
        load_catalog(tmp_path / missing)


def test_one_bad_file_keeps_the_whole_catalogue_out(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text("slug: x\n")
    with pytest.raises(CatalogErrors):
        load_catalog(tmp_path)


def test_a_single_file_can_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(GOOD)
    assert [loaded.path for loaded in load_catalog(file)] == [file]


def test_the_digest_ignores_comments_order_and_quoting(tmp_path: Path) -> None:
    first = load_text(tmp_path, GOOD).digest
    moved = "# a remark\n" + spoilt("owner: Water operations\n", "").replace(
        "risk: medium\n", "risk: 'medium'\nowner: \"Water operations\"\nidle_minutes: 10\n"
    )
    assert load_text(tmp_path, moved).digest == first
    assert len(first) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [("1. Look.", "1. Look!"), ("hmi-02", "hmi-03"), ("count: 1", "count: 2"), ("[shell, exec]", "[shell]")],
)
def test_the_digest_changes_with_every_word(tmp_path: Path, old: str, new: str) -> None:
    assert load_text(tmp_path, spoilt(old, new)).digest != load_text(tmp_path, GOOD).digest


def test_a_playbook_without_file_rules_keeps_the_digest_that_it_had_before_there_were_any(
    tmp_path: Path,
) -> None:
    plain = load_text(tmp_path, GOOD)
    assert "files" not in json.loads(canonical_bytes(plain.spec))
    text = GOOD.replace("channels: [shell, exec]", "channels: [sftp]\nfiles:\n  roots: [/srv/backup]")
    bounded = load_text(tmp_path, text)
    assert json.loads(canonical_bytes(bounded.spec))["files"] == {
        "roots": ["/srv/backup"], "max_bytes": None, "keep_contents": False,
    }  # fmt: skip
    assert (
        len({plain.digest, bounded.digest, load_text(tmp_path, text.replace("/srv/b", "/srv/c")).digest}) == 3
    )
