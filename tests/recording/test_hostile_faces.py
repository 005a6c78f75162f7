"""What an asset, a file name or a reason may hold does nothing where people meet it: mail, spreadsheets, reports, consoles, logs."""

from __future__ import annotations

import csv
import email
import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command, get_commands, load_command_class
from django.db import transaction

from breakglass.management.plain import PlainCommand, PlainFormatter
from breakglass.services import notices
from sessions import services
from sessions.evidence import texts
from sessions.gateway import commands
from sessions.gateway.commands.talk import Talk
from sessions.models import FileOperation, Recording
from sessions.recording.recorder import Recorder
from sessions.services import ChannelFacts, FileFacts, evidence
from tests.evidence.house import member
from tests.recording.hostile_corpus import HOSTILE
from tests.recording.scene import HEADER, HandClock
from tests.recording.test_transcripts import recorded
from tests.services import stage
from tests.services.scene import Scene
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.django_db

SHORT = [case for case in HOSTILE if len(case.data) < 4000]
WORDS = [case.data.decode(errors="replace").strip() for case in SHORT]
ALL = " ".join(WORDS)
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What a terminal obeys, or hides words by."""


@pytest.fixture(autouse=True)
def _place(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


def test_mail_has_its_own_headers_and_plain_words(scene: Scene) -> None:
    for number, words in enumerate(WORDS):
        said = {"topic": f"request:{number}", "subject": words, "body": words, "path": "/requests/1/"}
        with transaction.atomic():
            notices.queue([scene.cast.ada], **said, now=scene.now)
    while notices.deliver_due(scene.now):
        pass
    assert len(mail.outbox) == len(WORDS)
    plain = {
        "content-type",
        "mime-version",
        "content-transfer-encoding",
        "subject",
        "from",
        "to",
        "date",
        "message-id",
    }
    for message in mail.outbox:
        raw = message.message().as_bytes()
        read = email.message_from_bytes(raw)
        assert {name.lower() for name in read} <= plain | {"auto-submitted", "references", "in-reply-to"}
        assert message.recipients() == ["ada@plant.example"]
        assert not ACTING.search(message.subject) and "\n" not in message.subject
        assert not ACTING.search(message.body)
        assert read.get_content_type() == "text/plain"


def test_a_spreadsheet_reads_words(scene: Scene) -> None:
    rows = [
        {"a": words, "b": f"\uff1d{words}", "c": f"=cmd|{words}"}
        for words in [*WORDS, "+1", "-1", "@x", "\t=1"]
    ]
    read = list(csv.reader(io.StringIO(texts.table(("a", "b", "c"), rows).decode(), newline="")))
    assert len(read) == len(rows) + 1 and {len(row) for row in read} == {3}
    for row in read:
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")), cell
            assert not ACTING.search(cell)


@pytest.fixture
def bundle(scene: Scene) -> bytes:
    """Of a session whose screen, command, file names and chat are all of the corpus."""
    grant = scene.granted(reason=f"Restart it. {ALL}"[:1800])
    prompt = b"\x1bc\x18ops@hist-01:~$ "
    pieces = [piece for case in SHORT for piece in (prompt, b"cat x", b"\r\n", case.data)]
    session = recorded(scene, grant, [*pieces, prompt])
    for number, words in enumerate(WORDS, 2):
        facts = ChannelFacts(number, "exec", scene.now, command=words, closed_at=scene.now, exit_status=0)
        services.save_channel(session.pk, facts)
        moved = FileFacts(
            channel=number, number=1, verb="write", path=words[:500], target=words[:500],
            direction=FileOperation.Direction.UP, bytes=1, sha256="", outcome="done", kept="", started_at=scene.now,
            ended_at=scene.now,
        )  # fmt: skip
        services.save_file_operations([(session.pk, moved)])
    made = evidence.export(grant.pk, scene.cast.vera, scene.now)
    return b"".join(made.pieces())


def test_the_bundles_report_tables_and_transcript_hold_words_alone(bundle: bytes) -> None:
    page = member(bundle, "report.html").decode()
    tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z!]+)", page)}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "form", "a", "base"}, tags
    assert not re.search(r"<[^>]*\son\w+\s*=", page) and 'href="javascript' not in page
    assert not ACTING.search(page)
    sheet = list(csv.reader(io.StringIO(member(bundle, "commands.csv").decode(), newline="")))
    assert {len(row) for row in sheet} == {len(sheet[0])}
    assert "inferred" in {row[sheet[0].index("how")] for row in sheet[1:]}
    for name in ("commands.csv", "files.csv", "commands.json", _transcript(bundle), "README.txt"):
        text = member(bundle, name).decode()
        assert not ACTING.search(text.replace("\r\n", "\n")), name
    document = re.sub(rb"stream\r?\n.*?endstream", b"", member(bundle, "report.pdf"), flags=re.S)
    assert b"/Catalog" in document
    acting = (
        rb"/(?:JavaScript|JS|URI|Launch|OpenAction|AA|GoToR|SubmitForm|EmbeddedFiles?|RichMedia)(?![A-Za-z+])"
    )
    assert not re.search(acting, document)


def _transcript(bundle: bytes) -> str:
    (entry,) = json.loads(member(bundle, "recordings.json"))
    return str(entry["transcript"])


class Channel:
    """A console's channel that keeps what is shown."""

    pty, cols, rows = True, 80, 24

    def __init__(self) -> None:
        self.shown = ""

    def write(self, text: str, *, error: bool = False) -> None:
        self.shown += text


def test_the_consoles_lists_hold_words_alone(frozen: FrozenClock, scene: Scene) -> None:
    for words in (ALL[:1500], "\x1b]0;owned\x07\u202e see the historian"):
        scene.time.forward(seconds=30)
        scene.asked(reason=f"Look at it. {words}")
    scene.asset.title = "\x1b]52;c;cm0=\x07 hist"
    scene.asset.save()
    stage.live(scene, scene.granted())
    for person in (scene.cast.ada, scene.cast.rita, scene.cast.otto):
        for line in (
            "status",
            "sessions",
            "playbooks",
            "help",
            "deny \x1b]0;t\x07 \u202e",
            "\x1b[2J\u2028nothing",
        ):
            channel: Any = Channel()
            commands.run(Talk(channel, person.pk), line)
            assert channel.shown and not ACTING.search(channel.shown), (line, channel.shown)
    channel = Channel()
    commands.run(Talk(channel, scene.cast.ada.pk), "status")
    assert "Look at it." in channel.shown


def test_commands_on_the_server_show_words_alone(scene: Scene, tmp_path: Path) -> None:
    grant = scene.granted()
    recorded(scene, grant, [b"fine"])
    problem = f"{ALL}\nOK: 12 rows"[-300:]
    Recording.objects.update(problem=problem)
    out, err = io.StringIO(), io.StringIO()
    call_command("evidence", str(grant.pk), out=tmp_path / "e.zip", stdout=out, stderr=err)
    assert "ATTENTION" in err.getvalue() and not ACTING.search(err.getvalue() + out.getvalue())
    assert "\nOK: 12 rows" not in err.getvalue(), "no line of its own"


def test_every_command_of_ours_is_such_a_command() -> None:
    ours = {name: app for name, app in get_commands().items() if app in ("breakglass", "sessions")}
    assert len(ours) > 15
    assert all(isinstance(load_command_class(app, name), PlainCommand) for name, app in ours.items())


def test_a_log_shows_words_alone(settings: Any) -> None:
    assert "PlainFormatter" in str(settings.LOGGING["formatters"]["plain"])
    record = logging.LogRecord("x", logging.WARNING, "", 0, "from %s", (ALL,), None)
    assert not ACTING.search(PlainFormatter("%(message)s").format(record))


RENDERS = """
import resource, sys, time
from sessions.recording.rendering import Known, render
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
def pieces():
    with open(sys.argv[1], "rb") as file:
        while piece := file.read(65536):
            yield piece
done = render(pieces(), {1: Known("shell")}, ticks=time.thread_time)
print((peak() - before) // 1024, sum(len(line.text) for span in done.spans for line in span.lines))
"""


def test_ten_megabytes_of_one_sequence_need_little_memory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "c.cast", HEADER, clock=HandClock())
    recorder.resize(80, 24, channel=1)
    for case in HOSTILE:
        if case.name.startswith("10 MB"):
            for at in range(0, len(case.data), 32768):
                recorder.output(1, case.data[at : at + 32768])
    recorder.output(1, b"\x18\x1bcstill here\r\n")
    recorder.close()
    order = [sys.executable, "-c", RENDERS, str(tmp_path / "c.cast")]
    done = subprocess.run(order, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    grown, shown = map(int, done.stdout.split())
    assert grown < 100, "megabytes"
    assert 0 < shown < 4 * 1024 * 1024
