"""Freezing from the page, the receipt of an end where people look for it, and how fast sessions end."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from breakglass import clock
from breakglass.web.tags import after, signed, took
from sessions import services
from sessions.models import SSHSession
from sessions.services import Cut, Totals
from sessions.states import EndReason
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

MS = timedelta(milliseconds=1)


def killed(scene: Scene, at: datetime) -> SSHSession:
    session = SSHSession.objects.get(pk=scene.live_session)
    services.kill(session.pk, stage.person("ben"), "wrong machine", at)
    cut = Cut(
        at + 9 * MS, last_byte_at=at + 8 * MS, client_gone_at=at + 22 * MS, target_gone_at=at + 1250 * MS
    )
    assert services.end_session(session.pk, EndReason.KILLED, Totals(1, 2), cut.at, cut)
    return session


def test_a_session_is_frozen_and_goes_on_from_its_page(scene: Scene, enter: Enter) -> None:
    path = f"/sessions/{scene.live_session}/"
    ben = enter("ben")
    page = ben.get(path).content.decode()
    assert f"{path}freeze/" in page and f"{path}unfreeze/" not in page
    frozen = ben.post(f"{path}freeze/", {"reason": "is this <b>the</b> one?"}, follow=True).content.decode()
    assert "Frozen by Ben Haddad" in frozen and "is this &lt;b&gt;the&lt;/b&gt; one?" in frozen
    assert f'action="{path}unfreeze/"' in frozen and f"{path}freeze/" not in frozen
    for who in ("rita", "vera"):
        seen = enter(who).get(path).content.decode()
        assert "Frozen by Ben Haddad" in seen and f"{path}unfreeze/" not in seen
    assert "frozen" in enter("rita").get(f"/requests/{scene.live}/").content.decode()
    assert "frozen" in enter("vera").get("/sessions/").content.decode()
    goes_on = ben.post(f"{path}unfreeze/", follow=True).content.decode()
    assert "Frozen by" not in goes_on and f"{path}freeze/" in goes_on


def test_a_reason_isnt_asked_for_where_every_second_counts(scene: Scene, enter: Enter) -> None:
    assert enter("admin").post(f"/sessions/{scene.live_session}/freeze/", {}).status_code == 302
    assert SSHSession.objects.get(pk=scene.live_session).frozen_by == stage.person("admin")


def test_what_is_over_is_not_frozen(scene: Scene, enter: Enter) -> None:
    path = f"/sessions/{scene.ended_session}/"
    ben = enter("ben")
    assert f"{path}freeze/" not in ben.get(path).content.decode()
    assert "over already" in ben.get(f"{path}freeze/").content.decode()
    late = ben.post(f"{path}freeze/", {"reason": "too late"})
    assert late.status_code == 409 and b"session_not_live" in late.content
    assert ben.post(f"{path}unfreeze/").status_code == 409


def test_the_receipt_is_on_the_page_of_the_session_and_of_the_request(scene: Scene, enter: Enter) -> None:
    assert "Receipt" not in enter("rita").get(f"/sessions/{scene.live_session}/").content.decode()
    session = killed(scene, clock.now())
    page = enter("vera").get(f"/sessions/{session.pk}/").content.decode()
    assert "Receipt of the end" in page and "its end was asked for by Ben Haddad" in page
    for words in ("8 ms after", "9 ms after", "22 ms after", "1.25 s after"):
        assert words in page
    request = enter("vera").get(f"/requests/{scene.live}/").content.decode()
    assert "last byte +8 ms, person gone +22 ms, asset gone +1.25 s" in request


def test_a_crashs_receipt_says_that_it_is_an_estimate(scene: Scene, enter: Enter) -> None:
    assert services.recover_crashed("gw-1", clock.now()) >= 1
    page = enter("vera").get(f"/sessions/{scene.live_session}/").content.decode()
    assert "Estimated: the gateway crashed" in page and "not known" in page


def test_how_fast_sessions_end_is_told_by_cause_in_as_many_queries_for_many(
    scene: Scene, enter: Enter, django_assert_max_num_queries: object
) -> None:
    vera = enter("vera")
    now = clock.now()
    killed(scene, now)
    page = vera.get("/ends/").content.decode()
    assert "All that were asked for" in page and "killed" in page and "8 ms · 8 ms" in page
    grant = SSHSession.objects.get(pk=scene.live_session).grant
    for late in (10, 20, 1700):
        session = stage.open_session(grant, now)
        cut = Cut(now + late * MS, due=now, last_byte_at=now + late * MS)
        services.end_session(session.pk, EndReason.KILLED, Totals(0, 0), cut.at, cut)
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        page = vera.get("/ends/").content.decode()
    assert ">4<" in page.replace(" ", "")
    assert 'href="/ends/"' in vera.get("/sessions/").content.decode()
    assert 'href="/ends/"' not in enter("rita").get("/sessions/").content.decode()


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0.0, "0 ms"),
        (8.44, "8.4 ms"),
        (-2.0, "2 ms"),
        (230.4, "230 ms"),
        (1250.0, "1.25 s"),
        (180_000.0, "3 min"),
    ],
)
def test_lengths_of_time_are_said_in_the_unit_that_matters(milliseconds: float, words: str) -> None:
    assert took(milliseconds) == words
    assert after(milliseconds) == f"{words} {'before' if milliseconds < 0 else 'after'}"
    assert signed(milliseconds) == f"{'-' if milliseconds < 0 else '+'}{words}"
