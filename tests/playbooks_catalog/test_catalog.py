"""The catalogue that ships: enough of it, usable at three in the morning, and in the demo."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from playbooks.loader import CATALOG, LoadedPlaybook, load_catalog
from playbooks.standards import LABELS

DEMO_ASSETS = {"hist-01": "historian", "hmi-02": "hmi", "eng-ws-03": "engineering", "bms-04": "building"}
SECTIONS = ["Before you start", "Steps", "Checks", "Stop and call", "Put back"]
SUBJECTS = [
    "historian-down", "hmi-failover", "engineering-workstation-recovery", "ot-switch-recovery",
    "ot-firewall-rollback", "historian-backup-restore", "substation-gateway-restart",
    "building-management-recovery",
]  # fmt: skip

ALL = load_catalog()
each = pytest.mark.parametrize("playbook", ALL, ids=[p.spec.slug for p in ALL])


def test_it_holds_the_playbooks_that_a_shop_would_look_for() -> None:
    assert set(SUBJECTS) <= {p.spec.slug for p in ALL}


@each
def test_its_file_is_named_after_it(playbook: LoadedPlaybook) -> None:
    assert playbook.path.name == f"{playbook.spec.slug}.yaml"


@each
def test_it_is_a_template_or_fits_the_demo(playbook: LoadedPlaybook) -> None:
    if not playbook.spec.template:
        assert {DEMO_ASSETS[name] for name in playbook.spec.assets} == {playbook.spec.asset_class.value}


@each
def test_its_runbook_says_when_to_stop_and_how_to_put_things_back(playbook: LoadedPlaybook) -> None:
    headings = re.findall(r"^## (.+)$", playbook.spec.runbook, re.MULTILINE)
    assert headings == SECTIONS


@each
def test_it_holds_the_bounds_of_the_requirements(playbook: LoadedPlaybook) -> None:
    spec = playbook.spec
    assert spec.duration.default_minutes <= spec.duration.max_minutes <= 240
    assert spec.standards
    assert set(spec.standards) <= set(LABELS)
    # Dual approval may only be claimed where two approve.
    assert ("IEC 62443-3-3 SR 2.1 RE 4" in spec.standards) == (spec.approvers.count >= 2)


def test_the_command_lists_digests_and_its_canonical_text_gives_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call_command("check_playbooks")
    listed = capsys.readouterr().out
    call_command("check_playbooks", canonical="historian-down")
    digest = hashlib.sha256(capsys.readouterr().out.encode()).hexdigest()
    assert f"{digest}  playbook  historian-down" in listed
    assert f"{len(ALL)} playbooks are fit to load." in listed


def test_the_command_names_each_problem_and_exits_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CATALOG / "historian-down.yaml").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("- hist-01", "- hist-*"))
    with pytest.raises(CommandError) as refused:
        call_command("check_playbooks", str(tmp_path))
    assert refused.value.returncode == 1
    assert f"{tmp_path / 'x.yaml'}:10: assets[0]: 'hist-*' is a wildcard" in capsys.readouterr().out
