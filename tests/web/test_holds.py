"""How long a recording is kept, and who holds it, on the session's page."""

from __future__ import annotations

import re

import pytest

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent
from breakglass.services import audit
from sessions import services
from sessions.models import Recording
from sessions.states import RecordingState
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene


def page(enter: Enter, who: str, scene: Scene) -> str:
    html = enter(who).get(f"/sessions/{scene.ended_session}/").content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", html).split()) + html


def test_an_auditor_holds_and_lifts_it_and_the_page_says_so(scene: Scene, enter: Enter) -> None:
    otto, hold = enter("otto"), f"/sessions/{scene.ended_session}/hold/"
    assert hold in page(enter, "otto", scene)
    assert otto.post(hold, {"reason": ""}).status_code == 422
    assert "The recording is held" not in page(enter, "otto", scene)
    answer = otto.post(hold, {"reason": "A claim was announced"})
    assert answer.headers["Location"] == f"/sessions/{scene.ended_session}/"
    for who in ("otto", "vera", "admin"):
        assert "A claim was announced" in page(enter, who, scene)
    assert otto.post(hold, {"reason": "again"}).status_code == 409
    lift = f"/sessions/{scene.ended_session}/unhold/"
    assert lift in page(enter, "otto", scene)
    assert lift not in page(enter, "vera", scene)
    assert otto.post(lift, {"reason": "It was settled"}).status_code == 302
    assert "A claim was announced" not in page(enter, "otto", scene)
    rows = AuditEvent.objects.filter(tag__in=("recordings:recording:held", "recordings:recording:unheld"))
    assert [(row.actor_name, row.data["reason"]) for row in rows.order_by("seq")] == [
        ("otto", "A claim was announced"),
        ("otto", "It was settled"),
    ]


@pytest.mark.parametrize("who", ["rita", "ben"])
def test_who_is_in_it_doesnt_read_what_it_is_held_for(scene: Scene, enter: Enter, who: str) -> None:
    services.hold(scene.ended_session, stage.person("otto"), "A claim against rita", clock.now())
    Recording.objects.filter(session_id=scene.ended_session).update(store_problem="10.0.0.9 is away")
    text = page(enter, who, scene)
    assert "A claim against rita" not in text
    assert "10.0.0.9" not in text
    assert "10.0.0.9 is away" in page(enter, "admin", scene)


def test_a_deleted_one_says_so_instead_of_a_player(scene: Scene, enter: Enter) -> None:
    session = stage.SSHSession.objects.get(pk=scene.ended_session)
    assert "Open the replay" in page(enter, "vera", scene)
    now = clock.now()
    Recording.objects.filter(session=session).update(state=RecordingState.DELETED, deleted_at=now)
    audit.record(AuditTag.RECORDING_DELETED, actor=None, subject=session, now=now)
    row = AuditEvent.objects.latest("seq").seq
    text = page(enter, "vera", scene)
    assert "The recording was deleted by policy." in text
    assert f"row {row} of the audit trail" in text
    assert "Open the replay" not in text
    assert "Being recorded" not in text
    assert f"/sessions/{session.pk}/download/" not in text
    assert enter("vera").get(f"/sessions/{session.pk}/download/").status_code == 410
    assert enter("vera").get(f"/sessions/{session.pk}/files/9.1/download/").status_code == 410
    assert f"/sessions/{session.pk}/hold/" not in page(enter, "otto", scene)
