"""What every page keeps to: markup that a screen reader follows, nothing inline, nothing cached, nothing changed by a look."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test import Client

from breakglass import clock
from breakglass.models import AuditEvent
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene
from tests.web.test_access import TABLE, WHO, path_of

# Whoever reads what somebody else did is written down: that is the one change that a look makes.
ON_RECORD = (".cast", "/download/", "/transcript/", "transcript.txt", "timeline.json")
TRAIL = frozenset({"breakglass_auditevent", "breakglass_audithead"})
VOID_OF_NAME = frozenset({"hidden", "submit", "button"})
BEST_READER = {"/inbox/": "ben", "/audit/": "otto", "/reviews/": "vera", "/reviews/{review}/": "vera"}


class Page(HTMLParser):
    """What a checker needs of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[int] = []
        self.inline = ""
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self._in_script = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.inline += data.strip()

    def every(self, *names: str) -> list[dict[str, str]]:
        return [attrs for tag, attrs in self.tags if tag in names]


def pages(scene: Scene, enter: Enter) -> dict[str, str]:
    """Every page that GET gives, for somebody who may read it."""
    found = {}
    for row in TABLE:
        if row.method != "GET" or row.path.endswith(
            ("/events/", "/live/", "/stream/", ".cast", "/download/")
        ):
            continue
        answers = row.answers.split()
        column = WHO.index(BEST_READER.get(row.path, "")) if row.path in BEST_READER else -1
        if column < 0 and "200" in answers:
            column = answers.index("200")
        if column >= 0:
            answer = enter(WHO[column]).get(path_of(row.path, scene))
            # Fragments and data are no pages: what they are put into is checked.
            if not answer.streaming and answer.content[:15].lower() == b"<!doctype html>":
                found[f"{row.path} as {WHO[column]}"] = answer.content.decode()
    found["/nowhere/ as rita"] = enter("rita").get("/nowhere/").content.decode()
    found["a refusal as rob"] = enter("rob").get(path_of("/requests/{armed}/", scene)).content.decode()
    return found


@pytest.fixture
def all_pages(scene: Scene, enter: Enter) -> dict[str, str]:
    return pages(scene, enter)


def test_every_page_is_well_made(all_pages: dict[str, str]) -> None:
    problems = [f"{name}: {problem}" for name, html in all_pages.items() for problem in _problems(Page(html))]
    assert problems == []
    assert len(all_pages) > 20


def _problems(page: Page) -> list[str]:
    found = []
    ids = Counter(attrs["id"] for _, attrs in page.tags if attrs.get("id"))
    found += [f"id {name} twice" for name, count in ids.items() if count > 1]
    if page.headings.count(1) != 1:
        found.append(f"{page.headings.count(1)} h1")
    found += [
        f"h{low} follows h{high}"
        for high, low in zip(page.headings, page.headings[1:], strict=False)
        if low > high + 1
    ]
    labelled = {attrs.get("for") for attrs in page.every("label")}
    for attrs in page.every("input", "select", "textarea"):
        named = attrs.get("id") in labelled or attrs.get("aria-label") or attrs.get("type") in VOID_OF_NAME
        inside = attrs.get("type") in {"checkbox", "radio"}
        if not named and not inside:
            found.append(f"field {attrs.get('name')} has no label")
    for attrs in [attrs for _, attrs in page.tags]:
        found += [f"inline {name}" for name in attrs if name == "style" or name.startswith("on")]
        for name in ("aria-labelledby", "aria-describedby"):
            found += [
                f"{name} {word} leads nowhere" for word in attrs.get(name, "").split() if word not in ids
            ]
    if page.inline:
        found.append(f"inline script or style: {page.inline[:40]}")
    if not page.every("main") or "lang" not in page.every("html")[0]:
        found.append("no main or no language")
    found += [f"iframe or object {attrs}" for attrs in page.every("iframe", "object", "embed")]
    return found


def test_every_answer_is_guarded(scene: Scene, enter: Enter) -> None:
    for who, path in (("nobody", "/login/"), ("rita", "/"), ("rita", "/nowhere/"), ("rita", "/profile/")):
        answer = enter(who).get(path)
        policy = answer["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy
            and "frame-ancestors 'none'" in policy
            and "base-uri 'none'" in policy
        )
        assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"
        assert "no-store" in answer["Cache-Control"]
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in answer["Permissions-Policy"]
        assert abs(int(answer["X-Server-Time"]) / 1000 - clock.now().timestamp()) < 60


def test_a_look_changes_nothing(scene: Scene, enter: Enter) -> None:
    """A mail scanner, a prefetching browser and a crawler may open every link."""
    browsers = {who: enter(who) for who in ("rita", "ben", "vera", "otto")}
    shows_commands = path_of("/reviews/{review}/", scene)
    links = [path_of(row.path, scene) for row in TABLE if row.method == "GET"]
    links = [link for link in links if not link.endswith(ON_RECORD) and link != shows_commands]
    before = _rows()
    for who, client in browsers.items():
        for link in links:
            client.get(link)
        assert _rows() == before, who
    for link in links:
        browsers["vera"].head(link)
    assert _rows() == before


@pytest.mark.parametrize("path", ["/sessions/{ended_session}/timeline.json", "/reviews/{review}/"])
def test_reading_what_was_recorded_is_audited_and_nothing_else(path: str, scene: Scene, enter: Enter) -> None:
    vera = enter("vera")
    before = _rows()
    assert vera.get(path_of(path, scene)).status_code == 200
    after = _rows()
    assert {table for table in after if after[table] != before[table]} == TRAIL


def test_viewing_a_recording_is_audited_and_nothing_else(scene: Scene, enter: Enter) -> None:
    vera = enter("vera")
    before = _rows()
    played = b"".join(vera.get(path_of("/sessions/{ended_session}/recording.cast", scene)))
    vera.get(path_of("/sessions/{ended_session}/download/", scene))
    tags = AuditEvent.objects.order_by("-seq").values_list("tag", flat=True)[:2]
    assert list(tags) == ["recordings:recording:downloaded", "recordings:recording:viewed"]
    after = _rows()
    assert {table for table in after if after[table] != before[table]} <= TRAIL
    assert json.loads(played.splitlines()[0])["version"] == 2


def test_every_change_needs_a_token_of_our_own_page(scene: Scene, enter: Enter) -> None:
    for row in TABLE:
        if row.method != "POST" or row.path == "/audit/":
            continue
        who = next(
            (who for who, answer in zip(WHO[1:], row.answers.split()[1:], strict=True) if answer < "400"),
            "rita",
        )
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = enter(who).cookies
        before = _rows()
        answer = strict.post(path_of(row.path, scene))
        assert answer.status_code == 403, row.path
        assert b"Go back, reload the page" in answer.content
        assert _rows() == before, row.path


def test_a_link_that_would_change_something_is_refused(scene: Scene, enter: Enter) -> None:
    for row in TABLE:
        if row.method == "POST" and not any(
            other.method == "GET" and other.path == row.path for other in TABLE
        ):
            assert enter("rita").get(path_of(row.path, scene)).status_code == 405, row.path


def test_nothing_hostile_becomes_markup(scene: Scene, enter: Enter) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    incident = stage.open_incident(evil, clock.now())
    ask = stage.ask("rita", "historian-down", incident, clock.now(), reason=f"{evil} @@seen@@")
    for who, path in (("rita", f"/requests/{ask.id}/"), ("ben", "/inbox/"), ("ben", f"/requests/{ask.id}/decide/"),
                      ("otto", "/audit/"), ("rita", f"/incidents/{incident.id}/"), ("rita", "/")):  # fmt: skip
        html = enter(who).get(path).content.decode()
        assert "<script>alert" not in html and "<img src=x" not in html, path
    assert enter("rita").get("/assets/<script>/").status_code == 404


def _rows() -> dict[str, object]:
    """A print of every table that isn't a web login's own."""
    found: dict[str, object] = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table not in {"django_session", "axes_accesslog", "axes_accessattempt"}:
                cursor.execute(f'SELECT * FROM "{table}"')
                found[table] = sorted(map(repr, cursor.fetchall()))
    return found
