"""Everything that can be searched for, by everybody: what the searcher may not see is not found, and not counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessions import services
from sessions.models import ChatMessage, FileOperation, Finding, Review, SSHSession
from sessions.services import FileFacts, search_index, searching, transcripts
from sessions.services.searching import JUDGED, KINDS, KNOWN, SHOWN, Wanted
from tests.recording.test_transcripts import recorded, typed
from tests.services import stage
from tests.services.scene import Scene

pytestmark = pytest.mark.django_db

WORDS = {
    "command": "quokkacommand", "output": "quokkaoutput", "screen": "quokkascreen", "file": "/srv/quokkafile.tar",
    "person": "Rita", "asset": "hist-01", "reason": "quokkareason", "chat": "quokkachat", "note": "quokkanote",
    "finding": "quokkafinding",
}  # fmt: skip
EVERYTHING = {*SHOWN, *KNOWN, *JUDGED}
TABLE = {
    "rita": {*SHOWN, *KNOWN},  # her own, but not what reviewers wrote of it
    "rob": set(), "nora": set(),
    "ada": set(KNOWN), "ben": set(KNOWN),  # who may approve it sees the session, and may not replay it
    "admin": set(KNOWN),
    "vera": EVERYTHING, "otto": EVERYTHING,
}  # fmt: skip


@pytest.fixture
def session(scene: Scene, settings: Any, tmp_path: Path) -> SSHSession:
    """Rita's, in which each kind says a word of its own."""
    stage.keep_in(settings, tmp_path)
    return told(scene, "rita")


def told(scene: Scene, name: str) -> SSHSession:
    cast = scene.cast
    grant = scene.granted(getattr(cast, name), reason="The trend has stopped: quokkareason")
    screen = b"\x1b[?1049h\x1b[2J\x1b[Hquokkascreen\r\n~\r\n\x1b[?1049l"
    shown = typed(("echo quokkacommand", b"quokkaoutput\r\n"), ("vi x", screen))
    session = recorded(scene, grant, shown)
    facts = FileFacts(
        channel=1, number=1, verb="write", path="/srv/quokkafile.tar", target="", direction=FileOperation.Direction.UP,
        bytes=1, sha256="", outcome="done", kept="", started_at=scene.now, ended_at=scene.now,
    )  # fmt: skip
    services.save_file_operations([(session.pk, facts)])
    ChatMessage.objects.create(session=session, person=cast.ada, at=scene.now, text="quokkachat")
    review = Review.objects.create(
        grant=grant, state="signed", opened_at=scene.now, due_at=scene.now, reviewer=cast.vera, verdict="questions",
        note="quokkanote", signed_at=scene.now,
    )  # fmt: skip
    Finding.objects.create(
        review=review, session=session, at_seconds=2.0, category="data", severity="low", text="quokkafinding",
        author=cast.vera, created_at=scene.now,
    )  # fmt: skip
    transcripts.render_due(scene.now)
    search_index.index_due()
    return session


def test_each_kind_is_found_by_those_who_may_see_it(session: SSHSession, scene: Scene) -> None:
    assert set(WORDS) == set(KINDS)
    found = {
        name: {
            kind
            for kind, word in WORDS.items()
            for one in searching.search(getattr(scene.cast, name), Wanted(word, kind=kind), scene.now).found
            if one.session.pk == session.pk and {hit.kind for hit in one.hits} == {kind}
        }
        for name in TABLE
    }
    assert found == TABLE


def test_what_may_not_be_seen_is_not_counted(
    session: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text of two sessions holds the beginning; each searcher is told of their own alone, and of no other "more"."""
    robs = told(scene, "rob")
    monkeypatch.setattr(searching, "_NEWEST", 1)  # on PostgreSQL the two are in different windows
    monkeypatch.setattr(searching, "HITS", 50)
    counts = {}
    for name, kinds in TABLE.items():
        results = searching.search(getattr(scene.cast, name), Wanted("quokka"), scene.now)
        assert not results.more
        mine = [one.session.pk for one in results.found]
        counts[name] = (mine, results.hits)
        seen = {hit.kind for one in results.found for hit in one.hits}
        assert seen <= ({*SHOWN, *KNOWN} if name in ("rita", "rob") else kinds), name
    both = [robs.pk, session.pk]
    assert (counts["rita"], counts["rob"], counts["nora"]) == (([both[1]], 6), ([both[0]], 6), ([], 0))
    assert counts["ada"] == counts["admin"] == (both, 4)
    assert counts["vera"] == counts["otto"] == (both, 16)
