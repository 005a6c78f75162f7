"""The evidence of a grant on the pages: the way to it, the key, and the download."""

from __future__ import annotations

import hashlib
import io
import zipfile

from breakglass.models import AuditEvent, Grant
from sessions.services import evidence
from tests.web.conftest import Enter
from tests.web.stage import Scene


def address(scene: Scene) -> str:
    return f"/grants/{Grant.objects.get(request_id=scene.ended).pk}/evidence/"


def test_the_pages_of_request_and_review_lead_to_it_for_those_who_may(scene: Scene, enter: Enter) -> None:
    link = f'href="{address(scene)}"'
    for who in ("vera", "otto", "admin"):
        assert link in enter(who).get(f"/requests/{scene.ended}/").content.decode(), who
    for who in ("rita", "ben"):
        assert link not in enter(who).get(f"/requests/{scene.ended}/").content.decode(), who
    assert link in enter("vera").get(f"/reviews/{scene.review}/").content.decode()


def test_the_page_shows_the_key_and_says_that_the_review_is_missing(scene: Scene, enter: Enter) -> None:
    html = enter("vera").get(address(scene)).content.decode()
    assert evidence.fingerprint() in html
    assert "review isn" in html
    assert "Without the recordings" not in html
    assert "Without the recordings" in enter("admin").get(address(scene)).content.decode()


def test_looking_makes_nothing_and_the_button_gives_a_zip_that_nothing_keeps(
    scene: Scene, enter: Enter
) -> None:
    vera = enter("vera")
    vera.get(address(scene))
    assert not AuditEvent.objects.filter(tag="evidence:bundle:exported").exists()
    response = vera.post(address(scene))
    data = b"".join(response)
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="evidence-REQ-')
    assert "no-store" in response.headers["Cache-Control"]
    assert int(response.headers["Content-Length"]) == len(data)
    row = AuditEvent.objects.get(tag="evidence:bundle:exported")
    assert row.actor_name == "vera"
    assert row.data["sha256"] == response.headers["X-Content-SHA256"] == hashlib.sha256(data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert "recordings/S-1.cast" in opened.namelist()
