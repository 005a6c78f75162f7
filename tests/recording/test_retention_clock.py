"""A clock that went ahead deletes nothing early: it is doubted, and people hear of it once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from breakglass import clock
from breakglass.models import AuditEvent, Notice
from sessions import services
from sessions.services import retention_clock
from sessions.services.holdings import store
from tests.recording.keeping import local
from tests.recording.test_retention import over
from tests.services import stage
from tests.services.scene import Scene

HOUR, DAY, YEAR = 3600.0, 86400.0, timedelta(days=365)


@pytest.fixture(autouse=True)
def _own_disk(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)
    store().prepare()


class Machine:
    """A machine's two clocks and its boot, and a house whose database agrees with its wall clock or doesn't."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.up, self.boot = scene.now, 1000.0, "a"
        self.database = timedelta()
        monkeypatch.setattr(retention_clock, "_boot", lambda: self.boot)
        monkeypatch.setattr(retention_clock, "_ahead_of_database", lambda _: self.database)

    def passes(self, seconds: float) -> None:
        self.wall, self.up = self.wall + timedelta(seconds=seconds), self.up + seconds

    def off(self, time: timedelta) -> None:
        self.wall, self.up, self.boot = self.wall + time, 30.0, self.boot + "a"

    def believed(self) -> bool:
        return retention_clock.may_delete(self.wall, self.up)

    def hours(self, count: int) -> list[bool]:
        found = []
        for _ in range(count):
            self.passes(HOUR)
            found.append(self.believed())
        return found


@pytest.fixture
def machine(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(scene, monkeypatch)


def alarms() -> int:
    return AuditEvent.objects.filter(tag="gateway:clock:stepped").count()


def test_a_clock_that_goes_right_is_believed_also_after_a_night_off(machine: Machine) -> None:
    assert machine.believed() and all(machine.hours(30))
    machine.off(timedelta(hours=14))
    assert machine.believed() and all(machine.hours(3))
    assert not alarms()


def test_a_year_ahead_deletes_nothing_and_people_hear_of_it_once(scene: Scene, machine: Machine) -> None:
    assert machine.believed()
    session = over(scene)
    real, machine.wall = machine.wall, machine.wall + YEAR

    def sweep(now: datetime) -> int:
        return services.delete_due(now, machine.believed)

    machine.passes(HOUR)
    assert sweep(machine.wall) == 0 and len(local(session)) == 2
    assert not any(machine.hours(5))
    assert alarms() == 1
    told = set(
        Notice.objects.filter(topic=retention_clock.SUBJECT).values_list("person__username", flat=True)
    )
    assert len(told) > 0
    machine.wall = real + timedelta(hours=7)
    assert machine.believed(), "it was set right"
    assert all(machine.hours(3)) and alarms() == 1


def test_many_small_steps_are_a_large_one(machine: Machine) -> None:
    machine.believed()
    found = []
    for _ in range(10):
        machine.passes(HOUR)
        machine.wall += timedelta(minutes=20)
        found.append(machine.believed())
    assert not all(found) and alarms() == 1


def test_after_three_days_a_clock_that_nobody_set_right_is_believed(machine: Machine) -> None:
    machine.believed()
    machine.off(timedelta(days=200))
    assert not machine.believed() and not any(machine.hours(71))
    machine.passes(2 * HOUR)
    assert machine.believed() and all(machine.hours(3))
    assert alarms() == 1


def test_ahead_of_the_databases_clock_it_is_never_believed(machine: Machine) -> None:
    machine.database = YEAR
    assert not any(machine.hours(100))
    assert alarms() == 1
    machine.database = timedelta(seconds=2)
    machine.wall -= timedelta(hours=100)
    assert machine.believed() and all(machine.hours(3))


@pytest.mark.django_db
def test_a_torn_note_of_the_last_look_is_none(machine: Machine) -> None:
    for text in ("", "{", "[]", '{"boot": 1}', "null"):
        (store().root / retention_clock.NAME).write_text(text)
        assert machine.believed()


@pytest.mark.django_db
def test_the_databases_own_clock_is_asked(scene: Scene) -> None:
    assert abs(retention_clock._ahead_of_database(clock.now())) < timedelta(minutes=1)
