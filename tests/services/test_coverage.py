"""What a reviewer has watched: counted for them alone, merged, bounded, never beyond the recording."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant
from breakglass.services import people
from sessions.models import Coverage, SSHSession
from sessions.services import coverage
from tests.services import stage
from tests.services.racing import race, tally
from tests.services.scene import Scene, refused


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def _long(session: SSHSession, seconds: float = 100) -> SSHSession:
    session.recording.seconds = seconds
    session.recording.save()
    return session


@pytest.fixture
def session(scene: Scene, grant: Grant) -> SSHSession:
    return _long(stage.sealed(scene, grant))


def test_it_adds_up_and_says_what_is_left(scene: Scene, session: SSHSession) -> None:
    coverage.add(session.pk, scene.cast.vera, [[0, 30], [20, 50]], scene.now)
    seen = coverage.add(session.pk, scene.cast.vera, [[88, 4000]], scene.now)
    assert (seen.percent, seen.unseen) == (62, [(50, 88)])
    assert coverage.of(scene.cast.vera, [session])[session.pk] == seen
    assert Coverage.objects.count() == 1


def test_each_persons_own(scene: Scene, session: SSHSession) -> None:
    people.set_groups(scene.cast.nora, ["reviewers"], by=None, now=scene.now)
    coverage.add(session.pk, scene.cast.vera, [[0, 50]], scene.now)
    assert coverage.of(scene.cast.nora, [session])[session.pk].percent == 0


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("rita", Code.NOT_ALLOWED),
        ("otto", Code.NOT_ALLOWED),
        ("ada", Code.NOT_ALLOWED),
        ("rob", Code.NOT_FOUND),
    ],
)
def test_only_of_who_may_judge_it(scene: Scene, session: SSHSession, who: str, code: Code) -> None:
    with refused(code):
        coverage.add(session.pk, getattr(scene.cast, who), [[0, 50]], scene.now)
    assert not Coverage.objects.exists()


@pytest.mark.parametrize(
    "ranges",
    [None, "all", {"0": 1}, [[0, "x"]], [[0, float("inf")]], [[1]], [[0, 1]] * 501, [None], [[[], []]]],
)
def test_what_isnt_a_list_of_spans_counts_for_nothing(
    scene: Scene, session: SSHSession, ranges: object
) -> None:
    with refused(Code.BAD_INPUT):
        coverage.add(session.pk, scene.cast.vera, ranges, scene.now)
    assert not Coverage.objects.exists()


def test_not_before_the_recording_is_sealed(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    with refused(Code.RECORDING_OPEN):
        coverage.add(session.pk, scene.cast.vera, [[0, 5]], scene.now)


def test_two_windows_at_once_lose_nothing(committed: Scene) -> None:
    session = _long(stage.sealed(committed, committed.granted()))
    vera, now = committed.cast.vera, committed.now
    for start in (0, 40):
        parts = [[[start + 10 * i, start + 10 * i + 5]] for i in range(4)]
        outcomes = race(*[partial(coverage.add, session.pk, vera, part, now) for part in parts])
        assert tally(outcomes) == {"ok": 4}
    assert len(coverage.of(vera, [session])[session.pk].spans) == 8
