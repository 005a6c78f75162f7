"""What the tests of storage, retention and keys say again and again."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from django.core.management import call_command

from sessions import services
from sessions.models import FileOperation, SSHSession
from sessions.recording.kept import KeptWriter
from sessions.services import FileFacts, holdings
from sessions.services.holdings import store
from sessions.services.recording_keys import recording_key
from tests.services.scene import Scene

MOVED = b"\x00\x01 what was moved\n"


def kept_copy(scene: Scene, session: SSHSession) -> bytes:
    """A copy that was kept of a file: what it holds."""
    writer = KeptWriter(store().kept_path(session.pk, 9, 1), recording_key())
    writer.write(MOVED)
    writer.close()
    facts = FileFacts(
        channel=9, number=1, verb="write", path="/srv/patch.tar", target="", direction=FileOperation.Direction.UP,
        bytes=len(MOVED), sha256=hashlib.sha256(MOVED).hexdigest(), outcome="done", kept=f"{session.pk}/9-1.kept",
        started_at=scene.now, ended_at=scene.now,
    )  # fmt: skip
    services.save_file_operations([(session.pk, facts)])
    return MOVED


def local(session: SSHSession) -> list[Path]:
    """The files of the session's recording that are on the disk."""
    return holdings.local_files(session.pk)


def verify(*words: object) -> tuple[int, str]:
    """Exit code of `manage.py verify_recording`, and what it said up to the first colon."""
    out = io.StringIO()
    try:
        call_command("verify_recording", *map(str, words), stdout=out, stderr=out)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue().partition(":")[0]
    return 0, out.getvalue().partition(":")[0]
