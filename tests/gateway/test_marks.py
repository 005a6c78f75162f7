"""The running hash of a recording enters the audit trail while the session lives, and the whole one's at its end."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Any

import pytest

from breakglass import clock
from breakglass.models import AuditEvent
from sessions import services
from sessions.gateway import marks
from sessions.models import Recording, SSHSession
from sessions.services.marks import last_mark
from sessions.services.recording_check import Verdict, check
from sessions.services.recordings import store
from tests.gateway.house import House, eventually, read_until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MARK_EVERY", 1.0)


def said(session: SSHSession) -> list[dict[str, Any]]:
    """What the marks in the trail say of this session, oldest first."""
    rows = AuditEvent.objects.filter(tag="recordings:recording:marked").order_by("seq")
    found = [one for row in rows for one in row.data["recordings"] if one["session"] == session.label]
    path = store().open_path(session.pk)
    if path.exists():
        raw = path.read_bytes()
        for one in found:
            assert hashlib.sha256(raw[: one["bytes"]]).hexdigest() == one["sha256"]
    return found


def say(client: subprocess.Popen[bytes], word: str) -> None:
    assert client.stdin and client.stdout
    client.stdin.write(f"{word}\n".encode())
    client.stdin.flush()
    read_until(client.stdout, word.encode())


def test_a_recording_is_marked_while_its_session_lives_and_whole_at_its_end(house: House) -> None:
    house.grant()
    client = house.popen("cat")
    say(client, "the first word")
    session = house.session()
    eventually(lambda: said(session), "a young recording is marked")
    assert check(Recording.objects.get(session=session)).verdict is Verdict.OPEN
    before = said(session)[-1]["bytes"]
    say(client, "another word")
    eventually(lambda: said(session)[-1]["bytes"] > before, "what was added is marked too")
    assert client.stdin
    client.stdin.close()
    client.wait(30)
    ended = house.ended()
    raw = store().open_path(ended.pk).read_bytes()
    mark = last_mark(ended)
    assert mark is not None
    assert (mark.bytes, mark.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    (end,) = house.audited("gateway:session:ended")
    assert (end["recorded"], end["recorded_sha256"]) == (mark.bytes, mark.sha256)
    assert services.seal_recording(ended.pk, clock.now())
    assert check(Recording.objects.get(session=ended)).verdict is Verdict.INTACT


def test_the_recording_of_a_live_session_that_is_deleted_ends_the_session_and_is_missed(house: House) -> None:
    house.grant()
    client = house.popen("cat")
    say(client, "rm -rf what I did")
    session = house.session()
    eventually(lambda: said(session), "it is marked")
    store().open_path(session.pk).unlink()
    checked = check(Recording.objects.select_related("session").get(session=session))
    assert checked.verdict is Verdict.DAMAGED and "audit trail" in checked.what
    assert house.ended().end_reason == "cannot_record"
    client.communicate(timeout=30)
    assert not services.seal_recording(session.pk, clock.now())
    recording = Recording.objects.select_related("session").get(session=session)
    assert "row" in recording.problem and "audit trail" in recording.problem
    assert check(recording).verdict is Verdict.DAMAGED
