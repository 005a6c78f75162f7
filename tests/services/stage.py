"""Sessions for the tests of the data plane's services: opened, recorded, ended, sealed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from breakglass.models import Grant
from sessions import services
from sessions.models import SSHSession
from sessions.recording.recorder import Recorder
from sessions.services import OpenForm, Totals
from sessions.services.recordings import store
from sessions.states import EndReason
from tests.recording.scene import HEADER, HandClock
from tests.services.scene import Scene

HELLO = b"hello from the historian\r\n"


def form(scene: Scene, grant: Grant, **changes: Any) -> OpenForm:
    whole = OpenForm(
        id=uuid4(),
        grant_id=grant.pk,
        person_id=grant.person_id,
        asset_id=scene.asset.pk,
        login="operator",
        decision_id=uuid4(),
        client_address="192.0.2.7",
        client_version="SSH-2.0-OpenSSH_9.2",
        factor="publickey SHA256:abc, totp:1:2",
        gateway_id="gw-1",
    )
    return replace(whole, **changes)


def opened(scene: Scene, grant: Grant, **changes: Any) -> SSHSession:
    return services.open_session(form(scene, grant, **changes), scene.now)


def live(scene: Scene, grant: Grant, **changes: Any) -> SSHSession:
    session = opened(scene, grant, **changes)
    assert services.mark_live(session.pk, "127.0.0.1:22", "SHA256:pinned", scene.now)
    session.refresh_from_db()
    return session


def record(session: SSHSession, output: bytes = HELLO) -> Path:
    """A finished plain recording of the session."""
    store().prepare()
    path = store().open_path(session.pk)
    recorder = Recorder(path, HEADER, clock=HandClock())
    recorder.output(0, output)
    recorder.close()
    return path


def ended(scene: Scene, grant: Grant, reason: EndReason = EndReason.CLIENT_CLOSED) -> SSHSession:
    """A session that was recorded and is over; its recording is not sealed yet."""
    session = live(scene, grant)
    record(session)
    assert services.end_session(session.pk, reason, Totals(1, len(HELLO)), scene.now)
    session.refresh_from_db()
    return session


def sealed(scene: Scene, grant: Grant) -> SSHSession:
    session = ended(scene, grant)
    assert services.seal_recording(session.pk, scene.now)
    session.recording.refresh_from_db()
    return session


def keep_in(settings: Any, folder: Path) -> None:
    """Recordings of this test go below `folder`."""
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"data_dir": folder})
