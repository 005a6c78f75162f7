"""Publishing: immutable versions, one current a slug, all or nothing, and on the audit trail."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from breakglass import queries
from breakglass.domain.refusals import Refused
from breakglass.models import Asset, AuditEvent, PlaybookVersion
from breakglass.services import playbooks
from breakglass.services.assets import LoginForm
from playbooks.digest import digest_of
from playbooks.loader import CATALOG
from tests.support import cast as house
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def historian(time: FrozenClock) -> Asset:
    return house.machine(time.now)


def tags() -> list[tuple[str, int]]:
    events = AuditEvent.objects.filter(tag__startswith="playbooks:").order_by("seq")
    return [(event.tag.rpartition(":")[2], event.data["version"]) for event in events]


def test_a_new_playbook_becomes_version_one_with_its_digest(time: FrozenClock) -> None:
    spec = house.spec()
    (version,) = playbooks.publish([spec], time.now).new
    assert (version.slug, version.version, version.digest) == ("historian-down", 1, digest_of(spec))
    assert queries.spec_of(version) == spec
    assert tags() == [("published", 1)]


def test_an_unchanged_playbook_makes_no_version_and_no_audit_row(time: FrozenClock) -> None:
    playbooks.publish([house.spec()], time.now)
    again = playbooks.publish([house.spec()], time.now)
    assert (again.new, again.unchanged) == ((), ("historian-down",))
    assert tags() == [("published", 1)]


def test_a_changed_playbook_replaces_the_one_before_which_stays_as_it_was(time: FrozenClock) -> None:
    playbooks.publish([house.spec()], time.now)
    playbooks.publish([house.spec(idle_minutes=5)], time.forward(hours=1))
    old, new = PlaybookVersion.objects.order_by("version")
    assert (old.retired_at, new.retired_at) == (time.now, None)
    assert (old.spec["idle_minutes"], new.spec["idle_minutes"]) == (10, 5)
    assert tags() == [("published", 1), ("retired", 1), ("published", 2)]


def test_the_text_of_an_old_version_brings_that_very_version_back(time: FrozenClock) -> None:
    playbooks.publish([house.spec()], time.now)
    playbooks.publish([house.spec(idle_minutes=5)], time.now)
    playbooks.publish([house.spec()], time.now)
    current = PlaybookVersion.objects.get(slug="historian-down", retired_at=None)
    assert (current.version, PlaybookVersion.objects.count()) == (1, 2)


def test_what_vanished_is_retired_only_when_asked(time: FrozenClock) -> None:
    playbooks.publish([house.spec("one"), house.spec("two")], time.now)
    playbooks.publish([house.spec("one")], time.now)
    assert PlaybookVersion.objects.filter(retired_at=None).count() == 2
    (gone,) = playbooks.publish([house.spec("one")], time.now, retire_missing=True).retired
    assert gone.slug == "two"
    assert PlaybookVersion.objects.get(retired_at=None).slug == "one"


def test_a_playbook_can_be_withdrawn_and_only_once(time: FrozenClock) -> None:
    playbooks.publish([house.spec()], time.now)
    playbooks.retire("historian-down", time.now)
    with pytest.raises(Refused) as refused:
        playbooks.retire("historian-down", time.now)
    assert refused.value.refusal.code == "not_found"


def test_a_template_is_never_published(time: FrozenClock) -> None:
    done = playbooks.publish([house.spec(template=True, assets=["nowhere-1"])], time.now)
    assert (done.new, done.templates) == ((), ("historian-down",))
    assert not PlaybookVersion.objects.exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"assets": ["hist-01", "hist-99"]}, "the asset hist-99 isn't registered"),
        ({"asset_class": "hmi"}, "hist-01 is of class historian, not hmi"),
        ({"logins": ["operator", "root"]}, "hist-01 has no login root"),
    ],
)
def test_a_faulty_playbook_keeps_all_of_them_out(
    time: FrozenClock, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(Refused) as refused:
        playbooks.publish([house.spec("good"), house.spec("bad", **changes)], time.now)
    assert problem in refused.value.refusal.message
    assert not PlaybookVersion.objects.exists()
    assert tags() == []


@pytest.mark.parametrize(
    ("field", "value", "problem"), [("owner", "", "no owner"), ("active", False, "switched off")]
)
def test_an_ownerless_or_disabled_asset_takes_no_playbook(
    time: FrozenClock, field: str, value: object, problem: str
) -> None:
    Asset.objects.update(**{field: value})
    with pytest.raises(Refused) as refused:
        playbooks.publish([house.spec()], time.now)
    assert problem in refused.value.refusal.message


def test_a_stored_spec_that_was_tampered_with_is_not_believed(time: FrozenClock) -> None:
    (version,) = playbooks.publish([house.spec("tampered-with")], time.now).new
    version.spec["assets"] = ["hmi-02"]
    with pytest.raises(ValueError, match="doesn't match its digest"):
        queries.spec_of(version)


def test_the_command_loads_the_catalogue_and_is_safe_to_repeat(
    time: FrozenClock, capsys: pytest.CaptureFixture[str]
) -> None:
    Asset.objects.get().logins.create(name="histadmin", method="certificate", changed_at=time.now)
    house.machine(time.now, "hmi-02", kind="hmi")
    house.machine(time.now, "bms-04", kind="building")
    engineer = [LoginForm("engineer", "certificate")]
    house.machine(time.now, "eng-ws-03", kind="engineering", logins=engineer)
    call_command("load_playbooks")
    call_command("load_playbooks", retire=True)
    lines = capsys.readouterr().out.splitlines()
    assert "7 published, 0 unchanged, 0 retired, 4 templates left aside." in lines
    assert lines[-1] == "0 published, 7 unchanged, 0 retired, 4 templates left aside."


def test_the_command_publishes_nothing_of_a_faulty_catalogue(tmp_path: Path) -> None:
    text = (CATALOG / "historian-down.yaml").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("risk: medium", "risk: none"))
    with pytest.raises(CommandError, match=r"x\.yaml:8: risk: must be"):
        call_command("load_playbooks", str(tmp_path))
    assert not PlaybookVersion.objects.exists()
