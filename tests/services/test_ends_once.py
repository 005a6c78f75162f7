"""Layer 5: Celery writes down what is over. Whatever its tasks do (come twice, late, early, never), an end is one end."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from breakglass import tasks
from breakglass.models import AuditEvent, Grant, Notice
from breakglass.services import grants
from sessions import services as data_plane
from sessions import tasks as data_tasks
from sessions.models import Review
from tests.services.racing import race, sound_trail
from tests.services.scene import Scene

ENDS = ("grants:grant:expired", "grants:grant:revoked", "grants:grant:released")


def rows_of_end(grant: Grant) -> list[str]:
    return list(
        AuditEvent.objects.filter(subject=f"grant:{grant.pk}", tag__in=ENDS).values_list("tag", flat=True)
    )


def state(grant: Grant) -> str:
    return Grant.objects.get(pk=grant.pk).state


def at(scene: Scene, monkeypatch: pytest.MonkeyPatch, grant: Grant, *, after: timedelta) -> None:
    """It is so long after the grant's end, for the tasks too."""
    assert grant.ends_at is not None
    scene.time.set_wall(grant.ends_at + after)
    scene.time.rule(monkeypatch)


def test_tasks_that_come_many_times_and_beside_the_sweep_write_one_end(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = committed.granted()
    Notice.objects.all().delete()
    at(committed, monkeypatch, grant, after=timedelta(hours=3))
    race(*[partial(tasks.end_grant, str(grant.pk))] * 3, *[tasks.sweep] * 2)
    tasks.end_grant(str(grant.pk))
    tasks.sweep()
    assert rows_of_end(grant) == ["grants:grant:expired"]
    assert Notice.objects.filter(topic=f"grant:{grant.pk}").count() == 1
    ended = Grant.objects.get(pk=grant.pk)
    assert ended.ended_at == grant.ends_at, "however late, it ended when its time was over"
    race(
        *[partial(data_tasks.grant_ended, str(grant.pk))] * 3,
        partial(data_plane.open_due_reviews, committed.now),
    )
    assert Review.objects.filter(grant=grant).count() == 1
    sound_trail()


def test_a_task_that_comes_early_ends_nothing(committed: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = committed.granted()
    at(committed, monkeypatch, grant, after=-timedelta(seconds=1))
    tasks.end_grant(str(grant.pk))
    tasks.sweep()
    assert state(grant) == "active" and rows_of_end(grant) == []


def test_a_task_that_never_comes_is_made_up_for_by_the_sweep(
    committed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was flushed: every scheduled task is gone."""
    grant = committed.granted()
    at(committed, monkeypatch, grant, after=timedelta(seconds=3))
    tasks.sweep()
    assert rows_of_end(grant) == ["grants:grant:expired"]


@pytest.mark.parametrize("how", ["release", "revoke"])
def test_a_late_task_changes_nothing_about_an_end_that_was_somebodys(
    committed: Scene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    grant = committed.granted()
    cast = committed.cast
    if how == "release":
        grants.release(grant.pk, cast.rita, committed.now)
    else:
        grants.revoke(grant.pk, cast.ben, "enough", cast.code("ben", committed.now), committed.now)
    before = state(grant)
    at(committed, monkeypatch, grant, after=timedelta(days=1))
    race(*[partial(tasks.end_grant, str(grant.pk))] * 2, tasks.sweep)
    assert state(grant) == before
    assert len(rows_of_end(grant)) == 1


def test_two_overlapping_grants_end_each_by_itself(committed: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first = committed.granted()
    committed.time.forward(minutes=5)
    second = committed.granted()
    at(committed, monkeypatch, first, after=timedelta(seconds=1))
    race(partial(tasks.end_grant, str(first.pk)), partial(tasks.end_grant, str(second.pk)), tasks.sweep)
    assert state(first) == "expired" and state(second) == "active"
