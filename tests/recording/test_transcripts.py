"""Transcripts and searching: what a sealed recording showed can be read and found, by whom it may, until it is deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from breakglass import passes
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent, Grant, Person
from sessions import services
from sessions.models import (
    ChatMessage,
    FileOperation,
    Finding,
    Recording,
    Review,
    SearchLook,
    SearchRow,
    SSHSession,
    Transcript,
)
from sessions.queries import transcript_entries
from sessions.recording import rendering
from sessions.recording.recorder import Recorder
from sessions.services import ChannelFacts, FileFacts, looks, search_index, searching, transcripts
from sessions.services.recordings import store
from sessions.services.searching import Wanted
from sessions.states import EndReason, RecordingState
from tests.recording.hostile_corpus import HOSTILE
from tests.recording.scene import HEADER, HandClock
from tests.services import stage
from tests.services.scene import Scene

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _place(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def typed(*lines: tuple[str, bytes]) -> list[bytes]:
    """A shell's output, as it comes: prompt, each key's echo, then what the command showed."""
    pieces = [b"Welcome to hist-01\r\n"]
    for command, output in lines:
        pieces.append(b"ops@hist-01:~$ ")
        pieces += [char.encode() for char in command]
        pieces += [b"\r\n", output]
    return [*pieces, b"ops@hist-01:~$ "]


def recorded(
    scene: Scene, grant: Grant, pieces: list[bytes], *, command: str = "", terminal: bool = True
) -> SSHSession:
    """A sealed session of one channel that showed these pieces, half a second apart."""
    session = stage.live(scene, grant)
    kind = "exec" if command else "shell"
    facts = ChannelFacts(
        1, kind, scene.now, command=command, closed_at=scene.now + timedelta(seconds=9), exit_status=3
    )
    services.save_channel(session.pk, facts)
    store().prepare()
    hand = HandClock()
    recorder = Recorder(store().open_path(session.pk), HEADER, clock=hand)
    recorder.marker(f"channel 1: {kind}")
    if terminal:
        recorder.resize(80, 24, channel=1)
    for piece in pieces:
        hand.seconds += 0.5
        recorder.output(1, piece)
    recorder.close()
    assert services.end_session(session.pk, EndReason.CLIENT_CLOSED, stage.Totals(1, 1), scene.now)
    assert services.seal_recording(session.pk, scene.now)
    return SSHSession.objects.get(pk=session.pk)


@pytest.fixture
def session(scene: Scene, grant: Grant) -> SSHSession:
    """Rita looked for a certificate in a shell."""
    pieces = typed(("cat /etc/ssh/sshd_config", b"PermitRootLogin no\r\n"), ("uptime", b"up 3 days\r\n"))
    done = recorded(scene, grant, pieces)
    assert transcripts.render_due(scene.now) == 1
    search_index.index_due()
    return done


@pytest.fixture
def find(scene: Scene) -> Callable[..., list[str]]:
    """Searches as a person: the kinds of what was found."""

    def look(who: Person, text: str, **only: Any) -> list[str]:
        results = searching.search(who, Wanted(text, **only), scene.now)
        return [hit.kind for found in results.found for hit in found.hits]

    return look


def test_a_shells_commands_are_found_with_output_and_time(session: SSHSession) -> None:
    banner, cat, uptime = transcript_entries(session)
    assert (banner.kind, banner.output) == ("output", "Welcome to hist-01")
    assert (cat.kind, cat.text, cat.output, cat.exact) == (
        "command", "cat /etc/ssh/sshd_config", "PermitRootLogin no", False,
    )  # fmt: skip
    assert (uptime.text, uptime.output, uptime.exit_status) == ("uptime", "up 3 days", None)
    assert banner.began < cat.began < cat.line_times[0] < uptime.began
    assert uptime.ended is not None and uptime.ended > uptime.began


@pytest.mark.parametrize("terminal", [False, True])
def test_an_exec_is_exact(scene: Scene, grant: Grant, terminal: bool) -> None:
    session = recorded(scene, grant, [b"Linux hist-01\r\n"], command="uname -a", terminal=terminal)
    transcripts.render_due(scene.now)
    (entry,) = transcript_entries(session)
    assert (entry.exact, entry.text, entry.output, entry.exit_status) == (
        True,
        "uname -a",
        "Linux hist-01",
        3,
    )
    assert entry.ended == pytest.approx(entry.began + 9)


def test_rendering_twice_changes_nothing_and_a_newer_version_renders_again(
    session: SSHSession, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(transcript_entries(session).values_list("pk", "text"))
    assert transcripts.render_due(scene.now) == 0 and not transcripts.render(session.pk, scene.now)
    assert list(transcript_entries(session).values_list("pk", "text")) == before
    monkeypatch.setattr(rendering, "VERSION", rendering.VERSION + 1)
    assert transcripts.render_due(scene.now) == 1
    assert [text for _, text in before] == [row.text for row in transcript_entries(session)]
    assert Transcript.objects.get().version == rendering.VERSION


def test_a_recording_that_cannot_be_rendered_holds_up_no_other(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = recorded(scene, grant, [b"boom"])
    good = recorded(scene, grant, [b"fine"])
    render = rendering.render

    def stumble(pieces: Any, *rest: Any, **more: Any) -> Any:
        whole = b"".join(pieces)
        if b"boom" in whole:
            raise IndexError("pyte stumbled")
        return render([whole], *rest, **more)

    monkeypatch.setattr(rendering, "render", stumble)
    assert transcripts.render_due(scene.now) == 2
    assert transcript_entries(good).get().output == "fine"
    assert "IndexError" in Transcript.objects.get(recording__session=bad).problem
    assert transcripts.render_due(scene.now) == 0


def test_a_recording_out_of_reach_is_rendered_later(scene: Scene, grant: Grant) -> None:
    session = recorded(scene, grant, [b"fine"])
    place = store().sealed_path(session.pk)
    aside = place.with_name("aside")
    place.rename(aside)
    assert transcripts.render_due(scene.now) == 0
    assert "can't be read now" in Transcript.objects.get().problem
    aside.rename(place)
    assert transcripts.render_due(scene.now) == 0, "not at once again"
    assert transcripts.render_due(scene.now + timedelta(minutes=11)) == 1
    assert transcript_entries(session).get().output == "fine"


def test_one_pass_renders_at_a_time(scene: Scene, grant: Grant) -> None:
    recorded(scene, grant, [b"fine"])
    with passes.alone("rendering"):
        assert transcripts.render_due(scene.now) == 0
    assert transcripts.render_due(scene.now) == 1


def test_what_is_sealed_while_a_pass_is_on_is_rendered_by_it(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    render, later = rendering.render, []

    def seal_another(pieces: Any, *rest: Any, **more: Any) -> Any:
        if not later:
            later.append(grant)
            recorded(scene, grant, [b"another"])
        return render(pieces, *rest, **more)

    monkeypatch.setattr(rendering, "render", seal_another)
    recorded(scene, grant, [b"one"])
    assert transcripts.render_due(scene.now) == 2


def test_one_that_kills_the_renderer_goes_to_the_end_of_the_queue(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(scene, grant, [b"boom"])
    good = recorded(scene, grant, [b"fine"])
    render, begun = rendering.render, []

    def die(pieces: Any, *rest: Any, **more: Any) -> Any:
        whole = b"".join(pieces)
        begun.append(whole)
        if b"boom" in whole:
            raise SystemExit  # nobody catches that
        return render([whole], *rest, **more)

    monkeypatch.setattr(rendering, "render", die)
    with pytest.raises(SystemExit):
        transcripts.render_due(scene.now)
    assert transcripts.render_due(scene.now) == 1
    assert transcript_entries(good).get().output == "fine"
    assert transcripts.render_due(scene.now) == 0 and len(begun) == 2, "not at once again"
    with pytest.raises(SystemExit):
        transcripts.render_due(scene.now + timedelta(minutes=11))


def test_what_nobody_thought_of_holds_up_no_other(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(scene, grant, [b"boom"])
    good = recorded(scene, grant, [b"fine"])
    render = rendering.render

    def stumble(pieces: Any, *rest: Any, **more: Any) -> Any:
        whole = b"".join(pieces)
        if b"boom" in whole:
            raise MemoryError
        return render([whole], *rest, **more)

    monkeypatch.setattr(rendering, "render", stumble)
    assert transcripts.render_due(scene.now) == 1
    assert transcript_entries(good).get().output == "fine"


def test_the_note_of_a_grant_without_sessions_is_no_work_for_ever(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch, find: Callable[..., list[str]]
) -> None:
    """Nothing holds it: it doesn't stand before those that can be indexed."""
    monkeypatch.setattr(search_index, "AT_ONCE", 1)
    signed = {
        "state": "signed", "opened_at": scene.now, "due_at": scene.now, "reviewer": scene.cast.vera,
        "verdict": "questions", "signed_at": scene.now,
    }  # fmt: skip
    Review.objects.create(grant=grant, note="no session, a numbat", **signed)
    scene.time.forward(seconds=30)
    other = scene.granted()
    recorded(scene, other, [b"fine"])
    Review.objects.create(grant=other, note="why the kangaroo?", **signed)
    search_index.index_due()
    assert find(scene.cast.vera, "kangaroo") == ["note"]


def test_who_finds_what_is_who_may_replay_or_see_it(
    session: SSHSession, scene: Scene, find: Callable[..., list[str]]
) -> None:
    cast = scene.cast
    text = "permitrootlogin"
    ChatMessage.objects.create(session=session, person=cast.ada, at=scene.now, text="look at zanzibar")
    search_index.index_due()
    for person in (cast.rita, cast.vera, cast.otto):
        assert find(person, text) == ["output"], person
        assert find(person, "zanzibar") == ["chat"]
    for person in (cast.ada, cast.admin):
        assert find(person, text) == [] and find(person, "cat") == [], person
        assert "chat" in find(person, "zanzibar")
    assert find(cast.rob, text) == [] and find(cast.rob, "zanzibar") == []
    cast.rita.is_active = False
    cast.rita.save()
    assert find(cast.rita, text) == []


def test_words_paths_phrases_and_beginnings(
    session: SSHSession, scene: Scene, find: Callable[..., list[str]]
) -> None:
    rita = scene.cast.rita
    for asked in (
        "/etc/ssh/sshd_config",
        "sshd_con",
        "CONFIG",
        "etc/ssh",
        "cat sshd",
        '"etc ssh"',
        "s:sh cat",
    ):
        assert ("command" in find(rita, asked)) == (asked != "s:sh cat"), asked
    assert find(rita, '"etc sshd"') == [] and find(rita, '"sshd conf"') == []
    assert find(rita, "c") == [] and find(rita, "") == [] and find(rita, "' OR 1=1 -- \" *") == []
    assert find(rita, "uptime", kind="output") == [] and find(rita, "uptime", kind="command") == ["command"]
    assert find(rita, "uptime", person="nobody") == [] and find(rita, "uptime", person="rita") == ["command"]
    assert find(rita, "uptime", asset=scene.asset.name) and not find(rita, "uptime", asset="other")
    day = timedelta(days=1)
    assert find(rita, "uptime", since=scene.now - day, until=scene.now + day)
    assert not find(rita, "uptime", until=scene.now - day) and not find(rita, "uptime", since=scene.now + day)


def test_a_hit_says_its_second_and_marks_the_words(session: SSHSession, scene: Scene) -> None:
    results = searching.search(scene.cast.rita, Wanted("permitroot"), scene.now)
    (hit,) = results.found[0].hits
    assert hit.parts == [("PermitRoot", True), ("Login no", False)]
    assert hit.at == transcript_entries(session)[1].line_times[0]


def test_files_findings_and_notes_are_found(
    scene: Scene, grant: Grant, find: Callable[..., list[str]]
) -> None:
    cast = scene.cast
    session = recorded(scene, grant, [b"fine"])
    facts = FileFacts(
        channel=1, number=1, verb="write", path="/srv/patch-7.tar", target="", direction=FileOperation.Direction.UP,
        bytes=1, sha256="", outcome="done", kept="", started_at=scene.now, ended_at=scene.now,
    )  # fmt: skip
    services.save_file_operations([(session.pk, facts)])
    transcripts.render_due(scene.now)
    review = Review.objects.create(
        grant=grant, state="signed", opened_at=scene.now, due_at=scene.now, reviewer=cast.vera,
        verdict="questions", note="why the kangaroo?", signed_at=scene.now,
    )  # fmt: skip
    finding = Finding.objects.create(
        review=review, session=session, at_seconds=2.0, category="data", severity="low", text="a wombat",
        author=cast.vera, created_at=scene.now,
    )  # fmt: skip
    search_index.index_due()
    search_index.index_due()
    assert find(cast.rita, "/srv/patch-7") == ["file"] and find(cast.ada, "/srv/patch-7") == []
    assert find(cast.vera, "kangaroo") == ["note"] and find(cast.vera, "wombat") == ["finding"]
    assert find(cast.rita, "kangaroo wombat") == [] and find(cast.rita, "wombat") == []
    Finding.objects.filter(pk=finding.pk).update(withdrawn_at=scene.now)
    search_index.index_due()
    assert find(cast.vera, "wombat") == []


def searched() -> list[dict[str, Any]]:
    rows = AuditEvent.objects.filter(tag=AuditTag.RECORDINGS_SEARCHED).order_by("seq")
    return [row.data for row in rows]


def test_searching_what_others_did_is_on_record_once_settled(
    session: SSHSession, scene: Scene, find: Callable[..., list[str]]
) -> None:
    otto = scene.cast.otto
    find(scene.cast.rita, "uptime")  # her own
    find(otto, "nothing like it")
    assert not SearchLook.objects.exists()
    for text in ("up", "upt", "uptime"):
        find(otto, text, kind="command")
        scene.time.forward(seconds=2)
    assert SearchLook.objects.get(person=otto).text == "uptime", "noted before it was shown"
    assert looks.settle_due(scene.now) == 0 and searched() == []
    scene.time.forward(seconds=5)
    assert looks.settle_due(scene.now) == 1 and looks.settle_due(scene.now) == 0
    (said,) = searched()
    assert (said["text"], said["typed_from"], said["filters"]) == ("uptime", "up", {"kind": "command"})
    assert said["sessions"] == [session.label]
    row = AuditEvent.objects.get(tag=AuditTag.RECORDINGS_SEARCHED)
    assert row.actor_name == "otto" and not SearchLook.objects.exists()


def test_nothing_is_looked_at_off_the_record(
    session: SSHSession, scene: Scene, find: Callable[..., list[str]]
) -> None:
    """Whatever isn't typed on from the last text is another look, and the last one is in the trail by then."""
    otto, vera = scene.cast.otto, scene.cast.vera
    find(otto, "uptime")
    find(vera, "uptime")  # hers is another's look
    find(otto, "upti")  # letters taken away
    assert [said["text"] for said in searched()] == ["uptime"]
    find(otto, "sshd")
    find(otto, "sshd", person="rita")  # filtered otherwise
    scene.time.forward(seconds=6)
    find(otto, "sshd_config", person="rita")  # after a pause
    assert [said["text"] for said in searched()] == ["uptime", "upti", "sshd", "sshd"]
    assert [said["filters"] for said in searched()][-1] == {"person": "rita"}
    for _ in range(20):  # one who goes on typing for a minute
        scene.time.forward(seconds=4)
        find(otto, "sshd_config", person="rita")
    assert len(searched()) == 5
    scene.time.forward(seconds=5)
    assert looks.settle_due(scene.now) == 2
    assert {said["text"] for said in searched()[5:]} == {"uptime", "sshd_config"}


def _in_the_index(piece: bytes) -> bool:
    """Whether the bytes of SQLite's index hold it; of PostgreSQL's, a row."""
    table = "gateway_searchwords_data" if connection.vendor == "sqlite" else "gateway_searchrow"
    column = "block" if connection.vendor == "sqlite" else "convert_to(words::text, 'UTF8')"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        return any(piece in bytes(block) for (block,) in cursor.fetchall())


def test_nothing_of_a_deleted_recording_stays(
    session: SSHSession, scene: Scene, find: Callable[..., list[str]]
) -> None:
    otto = scene.cast.otto
    assert find(otto, "uptime")
    Review.objects.update_or_create(
        grant=session.grant,
        defaults={
            "state": "signed", "opened_at": scene.now, "due_at": scene.now, "reviewer": scene.cast.vera,
            "verdict": "in_order", "signed_at": scene.now,
        },
    )  # fmt: skip
    session.grant.incident.closed_at = scene.now
    session.grant.incident.save()
    Recording.objects.update(keep_until=scene.now)
    assert _in_the_index(b"RootLogin".lower())
    services.delete_due(scene.now)
    assert Recording.objects.get().state == RecordingState.DELETED
    assert not _in_the_index(b"RootLogin".lower())
    assert not transcript_entries(session).exists() and not Transcript.objects.exists()
    assert find(otto, "uptime") == [] and find(otto, "sshd_config") == []
    assert set(SearchRow.objects.values_list("kind", flat=True)) <= set(searching.KNOWN + searching.JUDGED)
    assert not transcripts.render(session.pk, scene.now) and transcripts.render_due(scene.now) == 0
    assert not transcript_entries(session).exists()


def test_hostile_recordings_are_stored_and_found(scene: Scene, grant: Grant) -> None:
    pieces = [case.data[: 1 << 17] for case in HOSTILE] + [b"\x1bc\r\nstill here: marmoset\r\n"]
    session = recorded(scene, grant, pieces)
    assert transcripts.render_due(scene.now) == 1
    text = "".join(f"{row.text}\n{row.output}" for row in transcript_entries(session))
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text
    assert searching.search(scene.cast.rita, Wanted("marmoset"), scene.now).hits
