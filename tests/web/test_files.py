"""The part of a session's page that tells what was done to files."""

from __future__ import annotations

import hashlib

import pytest

from breakglass import clock
from breakglass.models import AuditEvent
from sessions import services
from sessions.services import ChannelFacts
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene


def test_the_page_lists_what_was_done_to_files(scene: Scene, enter: Enter) -> None:
    html = enter("vera").get(f"/sessions/{scene.ended_session}/").content.decode()
    assert "/srv/historian/patch.tar" in html and "to the asset" in html
    assert hashlib.sha256(stage.MOVED).hexdigest() in html
    assert "file_outside_roots" in html
    link = f"/sessions/{scene.ended_session}/files/9.1/download/"
    assert html.count("/files/9.") == 1 and link in html


@pytest.mark.parametrize("which", ["ended_session", "live_session"])
def test_names_and_commands_are_for_who_may_replay_as_in_the_api(
    scene: Scene, enter: Enter, which: str
) -> None:
    session = getattr(scene, which)
    services.save_channel(
        session, ChannelFacts(number=7, kind="exec", opened_at=clock.now(), command="cat /etc/shadow-of-it")
    )
    for who, sees in (("vera", True), ("rita", True), ("otto", True), ("ben", False)):
        client = enter(who)
        for path in (f"/sessions/{session}/", f"/sessions/{session}/live/"):
            html = client.get(path).content.decode()
            assert ("shadow-of-it" in html) == sees, (who, path)
            assert ("shown to the person of the session, a reviewer or an auditor" in html) == (not sees)
            if which == "ended_session":
                assert ("/srv/historian/patch.tar" in html) == sees, (who, path)


def test_the_kept_copy_comes_as_a_file_and_is_audited(scene: Scene, enter: Enter) -> None:
    response = enter("vera").get(f"/sessions/{scene.ended_session}/files/9.1/download/")
    assert b"".join(response) == stage.MOVED
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment;")
    assert AuditEvent.objects.get(tag="recordings:file:downloaded").actor_name == "vera"
    assert enter("vera").get(f"/sessions/{scene.ended_session}/files/9.2/download/").status_code == 404


def test_a_session_that_could_move_files_says_that_it_moved_none(scene: Scene, enter: Enter) -> None:
    html = enter("vera").get(f"/sessions/{scene.live_session}/").content.decode()
    assert "Nothing was done to files" in html


def test_a_playbook_says_what_bounds_its_files(scene: Scene, enter: Enter) -> None:
    html = enter("rita").get("/playbooks/engineering-project-restore/").content.decode()
    assert "only inside /projects; at most 3.7\xa0GB each way in a session; a copy" in html
    assert "<dt>Files</dt>" not in enter("rita").get("/playbooks/historian-down/").content.decode()
