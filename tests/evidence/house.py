"""What the tests of evidence do in a house, in short words; and a stranger, who has nothing of it but a file."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from breakglass.models import AssetHostKey, Grant, Person
from breakglass.services import grants
from breakglass.services.notary import Memory, Notary
from breakglass.services.notes import Signer
from sessions import services
from sessions.models import FileOperation, Review, SSHSession
from sessions.recording.kept import KeptWriter
from sessions.services import ChannelFacts, FileFacts, Totals, evidence
from sessions.services.recordings import recording_key, store
from sessions.services.signing import sign_review
from sessions.states import EndReason
from tests.services import stage
from tests.services.scene import Scene

SIGNER = Signer("broker.example/audit", bytes(range(32)))
HOSTILE = "\x1b]0;owned\x07<script>alert(1)</script>\u202egnp.exe"
SCREEN = b"\x1b[1;32moperator@hist-01\x1b[0m:~$ uptime\r\n\x1b]0;owned\x07 up 3 days \x9b31m\r\n"
MOVED = b"\x00\x01 what was moved\n"


@dataclass
class Told:
    """What a stranger's run of verify.py said."""

    code: int
    says: str


class House:
    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        self.grant: Grant
        self.session: SSHSession

    @property
    def people(self) -> Any:
        return self.scene.cast

    def whole_story(self, **changes: Any) -> Grant:
        """Asked, approved, used, given back, reviewed, and the trail signed."""
        self.access(**changes)
        self.give_back()
        self.review()
        self.sign_trail()
        return self.grant

    def access(self, **changes: Any) -> SSHSession:
        """A grant and a session under it that ran a command and moved a file, ended and sealed."""
        self.grant = self.scene.granted(**changes)
        self.session = self.login()
        self.end()
        return self.session

    def login(self) -> SSHSession:
        session = stage.opened(self.scene, self.grant, factor="totp:1:2")
        key = AssetHostKey.objects.get(asset=self.scene.asset).fingerprint
        assert services.mark_live(session.pk, "127.0.0.1:22", key, self.scene.now)
        return session

    def end(self, reason: EndReason = EndReason.CLIENT_CLOSED, screen: bytes = SCREEN) -> None:
        stage.record(self.session, screen)
        now = self.scene.now
        command = ChannelFacts(
            number=1, kind="exec", opened_at=now, command="=HYPERLINK(1)" + HOSTILE, exit_status=0
        )
        services.save_channel(self.session.pk, ChannelFacts(number=0, kind="shell", opened_at=now))
        services.save_channel(self.session.pk, command)
        self.move_a_file()
        assert services.end_session(
            self.session.pk, reason, Totals(1, len(screen)), self.scene.time.forward(seconds=60)
        )
        assert services.seal_recording(self.session.pk, self.scene.now)
        self.session.refresh_from_db()

    def move_a_file(self) -> None:
        writer = KeptWriter(store().kept_path(self.session.pk, 9, 1), recording_key())
        writer.write(MOVED)
        writer.close()
        facts = FileFacts(
            channel=9, number=1, verb="write", path="/srv/" + HOSTILE, target="", direction=FileOperation.Direction.UP,
            bytes=len(MOVED), sha256=hashlib.sha256(MOVED).hexdigest(), outcome="done",
            kept=f"{self.session.pk}/9-1.kept", started_at=self.scene.now, ended_at=self.scene.now,
        )  # fmt: skip
        services.save_file_operations([(self.session.pk, facts)])

    def give_back(self) -> None:
        grants.release(self.grant.pk, self.grant.person, self.scene.time.forward(seconds=5))

    def review(self, verdict: str = "in_order", note: str = "Watched all of it.") -> None:
        services.open_due_reviews(self.scene.now)
        review = Review.objects.get(grant=self.grant)
        now = self.scene.time.forward(seconds=60)
        sign_review(review.pk, self.people.vera, verdict, note, self.people.code("vera", now), now)

    def sign_trail(self) -> None:
        notary = Notary(SIGNER, Memory(self.folder / "notary.signed"))
        notary.begin(self.scene.now)
        notary.look(self.scene.now + timedelta(hours=1))

    def bundle(self, by: Person | None = None, **how: Any) -> evidence.Bundle:
        return evidence.export(self.grant.pk, by or self.people.vera, self.scene.now, **how)

    def zipped(self, by: Person | None = None, **how: Any) -> bytes:
        return b"".join(self.bundle(by, **how).pieces())

    def on_disk(self, data: bytes, name: str = "evidence.zip") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def unpacked(self, data: bytes, name: str = "unpacked") -> Path:
        return unpacked(self.folder / name, data)


def unpacked(folder: Path, data: bytes) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        opened.extractall(folder)
    return folder


def names_in(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return opened.namelist()


def member(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return opened.read(name)


def stranger(program: Path, *words: str | Path) -> Told:
    """Runs verify.py as somebody does who has Python and nothing else: no site packages, nothing of ours, no network."""
    order = [sys.executable, "-I", "-S", "-B", str(program), *map(str, words)]
    done = subprocess.run(
        order,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Told(done.returncode, done.stdout + done.stderr)
