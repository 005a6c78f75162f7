"""The wallboard: a screen on a wall looks and does nothing, on one device; people on it may freeze with one tap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import AuditEvent
from breakglass.services import typed_code
from sessions import services
from sessions.live.thumbnails import ALL_AT_ONCE, FAR_BEHIND, Thumbnail, Wall
from sessions.models import Kiosk, SSHSession, Watch
from sessions.recording import asciicast
from sessions.services import kiosks, wall, watching
from sessions.services.recordings import store
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db
HEADER = asciicast.header_line({"version": 2, "width": 80, "height": 24})


def made(name: str = "Control room", days: int = 90) -> kiosks.IssuedKiosk:
    admin = stage.person("admin")
    return kiosks.make(admin, name, days, stage.fresh_code("admin", clock.now()), clock.now())


def paired() -> tuple[Client, Kiosk]:
    issued = made()
    screen = Client()
    answer = screen.post("/wallboard/pair/", {"code": issued.code.upper()})
    assert answer.status_code == 302
    return screen, Kiosk.objects.get(pk=issued.row.pk)


def draw(path: Path, *texts: str) -> None:
    path.write_bytes(HEADER + b"".join(asciicast.event_line(n, "o", text) for n, text in enumerate(texts)))


def test_a_code_typed_on_the_screen_pairs_it_once(scene: Scene) -> None:
    screen, kiosk = paired()
    page = screen.get("/wallboard/").content.decode()
    assert "Who is in what, now" in page and "hist-01" in page and "looks only" in page
    assert kiosk.device_address == "127.0.0.1"
    tags = list(AuditEvent.objects.filter(subject=f"kiosk:{kiosk.pk}").values_list("tag", flat=True))
    assert sorted(tags) == ["sessions:kiosk:made", "sessions:kiosk:paired"]


def test_a_code_is_good_once_and_for_ten_minutes(scene: Scene) -> None:
    issued, now = made(), clock.now()
    late = now + kiosks.PAIRING + timedelta(seconds=5)
    with pytest.raises(Refused) as no:
        kiosks.pair(issued.code, "192.0.2.1", late)
    assert no.value.refusal.code is RefusalCode.KIOSK_CODE_WRONG
    kiosks.pair(issued.code, "192.0.2.1", now)
    with pytest.raises(Refused):
        kiosks.pair(issued.code, "192.0.2.1", now)
    with pytest.raises(Refused):
        kiosks.pair(typed_code.shown(typed_code.fresh()), "192.0.2.1", now)


def test_strangers_who_type_codes_dont_fill_the_trail(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    monkeypatch.setattr(kiosks, "_noise", kiosks._Noise())
    rows = AuditEvent.objects.filter(tag="sessions:kiosk:refused")

    def guess() -> None:
        with pytest.raises(Refused):
            kiosks.pair(typed_code.shown(typed_code.fresh()), "192.0.2.1", clock.now())

    Kiosk.objects.update(revoked_at=clock.now())
    guess()
    assert not rows.exists(), "nothing waits for a code"
    made()
    for _ in range(9):
        guess()
    assert rows.count() == 5
    moment[0] += 61
    guess()
    assert rows.count() == 6


def test_the_cookie_counts_on_its_own_device_only(scene: Scene) -> None:
    screen, _ = paired()
    assert screen.get("/wallboard/live/").status_code == 200
    assert screen.get("/wallboard/live/", REMOTE_ADDR="192.0.2.77").status_code == 401
    cookie = screen.cookies["breakglass_wallboard"]
    assert cookie["httponly"] and cookie["samesite"] == "Strict" and cookie["path"] == "/wallboard/"


def test_a_screen_on_the_wall_can_do_nothing(scene: Scene) -> None:
    screen, _ = paired()
    page = screen.get("/wallboard/").content.decode()
    assert "<button" not in page and "Back to Breakglass" not in page
    assert screen.post(f"/wallboard/{scene.live_session}/freeze/").status_code == 302
    assert SSHSession.objects.get(pk=scene.live_session).frozen_at is None
    for path in ("/", "/sessions/", f"/sessions/{scene.live_session}/", "/kiosks/"):
        assert screen.get(path).status_code == 302


@pytest.mark.parametrize("path", ["/wallboard/live/", "/wallboard/events/"])
def test_a_strange_device_is_told_nothing(scene: Scene, path: str) -> None:
    assert Client().get(path).status_code == 401
    assert Client().post("/wallboard/screens/").status_code == 401
    page = Client().get("/wallboard/").content.decode()
    assert "Pairing code" in page and "hist-01" not in page


def test_taken_down_it_shows_nothing_any_more(scene: Scene, enter: Enter) -> None:
    screen, kiosk = paired()
    assert screen.post("/wallboard/screens/").status_code == 200
    code = stage.fresh_code("admin", clock.now())
    assert enter("admin").post(f"/kiosks/{kiosk.pk}/revoke/", {"code": code}).status_code == 302
    assert screen.post("/wallboard/screens/").status_code == 401
    assert AuditEvent.objects.filter(tag="sessions:kiosk:revoked", subject=f"kiosk:{kiosk.pk}").exists()


def test_setting_one_up_asks_for_a_fresh_factor(scene: Scene, enter: Enter) -> None:
    admin = enter("admin")
    assert admin.post("/kiosks/", {"name": "Lobby", "days": "9", "code": "000000"}).status_code == 422
    assert not Kiosk.objects.filter(name="Lobby").exists()
    code = stage.fresh_code("admin", clock.now())
    page = admin.post("/kiosks/", {"name": "Lobby", "days": "9", "code": code}).content.decode()
    assert "It is shown this one time." in page
    assert Kiosk.objects.get(name="Lobby").expires_at > clock.now() + timedelta(days=8)


@pytest.fixture
def recording(scene: Scene) -> Iterator[Path]:
    """Where the live session's is; gone afterwards, for a file without its session is an alarm to others."""
    store().prepare()
    yield store().open_path(scene.live_session)
    store().open_path(scene.live_session).unlink(missing_ok=True)


def test_the_wall_shows_the_screens_and_says_that_it_looks(scene: Scene, recording: Path) -> None:
    draw(recording, "operator$ ", "df -h\r\n\x1b[1mFilesystem\x1b[0m Size\r\n")
    screen, kiosk = paired()
    shown = screen.post("/wallboard/screens/").json()["screens"][str(scene.live_session)]
    assert shown == {"columns": 80, "rows": ["operator$ df -h", "Filesystem Size"]}
    screen.post("/wallboard/screens/")
    watch = Watch.objects.get(session_id=scene.live_session)
    assert watch.kiosk == kiosk and watch.person is None
    session = SSHSession.objects.get(pk=scene.live_session)
    assert [row.kiosk for row in watching.watchers(session, clock.now())] == [kiosk]
    began = AuditEvent.objects.get(tag="sessions:watch:begun")
    assert b"Control room" in bytes(began.body)


def test_who_looks_at_the_wall_is_nobodys_escort(scene: Scene) -> None:
    SSHSession.objects.filter(pk=scene.live_session).update(escort_needed=True, escort_missing_at=clock.now())
    wall.screens(stage.person("ben"), clock.now())
    assert not Watch.objects.get(session_id=scene.live_session).escort
    assert SSHSession.objects.get(pk=scene.live_session).escort_missing_at is not None


def test_an_approver_freezes_with_one_tap_and_lets_go(scene: Scene, enter: Enter) -> None:
    ben = enter("ben")
    assert "Freeze" in ben.get("/wallboard/").content.decode()
    assert ben.post(f"/wallboard/{scene.live_session}/freeze/").status_code == 302
    assert SSHSession.objects.get(pk=scene.live_session).frozen_at is not None
    assert "Let it go on" in ben.get("/wallboard/").content.decode()
    ben.post(f"/wallboard/{scene.live_session}/unfreeze/")
    assert SSHSession.objects.get(pk=scene.live_session).frozen_at is None


def test_everybody_sees_on_the_wall_what_they_may_see_elsewhere(scene: Scene, enter: Enter) -> None:
    assert "hist-01" not in enter("rob").get("/wallboard/").content.decode()
    assert enter("rob").post("/wallboard/screens/").json()["screens"] == {}
    mine = enter("rita").get("/wallboard/").content.decode()
    assert "hist-01" in mine and "Freeze" not in mine
    assert enter("rita").post("/wallboard/screens/").json()["screens"] == {}


def test_only_requests_that_one_may_see_are_counted(scene: Scene, enter: Enter) -> None:
    screen, _ = paired()
    for browser, count in ((enter("rita"), 0), (enter("rob"), 2), (screen, 2)):
        page = browser.get("/wallboard/").content.decode()
        assert f"<b>{count}</b> request" in page


def test_an_empty_wall_says_so(scene: Scene, enter: Enter) -> None:
    session = SSHSession.objects.get(pk=scene.live_session)
    services.end_session(
        session.pk, stage.EndReason.CLIENT_CLOSED, stage.Totals(bytes_in=0, bytes_out=0), clock.now()
    )
    assert "Nobody is in." in enter("otto").get("/wallboard/").content.decode()


def test_a_flood_is_joined_near_its_end(tmp_path: Path) -> None:
    path = tmp_path / "flood.cast"
    draw(path, *(f"line {n:06} of a flood that nobody reads on a wall\r\n" for n in range(20_000)))
    assert path.stat().st_size > 2 * FAR_BEHIND
    thumbnail = Thumbnail(path)
    while thumbnail.look(ALL_AT_ONCE):
        pass
    assert thumbnail.rows[-1].startswith("line 019999")


def test_many_lines_at_once_leave_the_others_on_the_wall(tmp_path: Path, scene: Scene) -> None:
    bulk, quiet = tmp_path / "bulk.cast", tmp_path / "quiet.cast"
    draw(bulk, "".join(f"line {n} of a log that came in one piece\r\n" for n in range(200)))
    draw(quiet, "operator$ ")
    found, _ = Wall().look({scene.ended_session: bulk, scene.live_session: quiet})
    assert found[scene.live_session][1] == ["operator$"]
    assert found[scene.ended_session][1][-1].startswith("line 199")


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "torn.cast"
    line = asciicast.event_line(1, "o", "whole\r\n")
    path.write_bytes(HEADER + line[:9])
    thumbnail = Thumbnail(path)
    thumbnail.look(ALL_AT_ONCE)
    assert thumbnail.rows == []
    path.open("ab").write(line[9:])
    thumbnail.look(ALL_AT_ONCE)
    assert thumbnail.rows == ["whole"]


def test_a_hostile_screen_is_text(tmp_path: Path) -> None:
    path = tmp_path / "hostile.cast"
    draw(
        path,
        "\x1b]0;</script>\x07",
        "\x1b]52;c;aGk=\x07",
        "<b>x</b>",
        "\x1b]8;;javascript:1\x07y",
        "A" * 90_000,
    )
    thumbnail = Thumbnail(path)
    for _ in range(10):
        thumbnail.look(ALL_AT_ONCE)
    assert all(len(row) <= 200 for row in thumbnail.rows)


def test_a_recording_on_another_machine_leaves_its_screen_empty(tmp_path: Path, scene: Scene) -> None:
    assert Wall().look({scene.live_session: tmp_path / "nowhere.cast"}) == ({}, False)
