"""The ways of notices: real receivers, one of which dies, and nobody is left untold in silence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from breakglass.domain.refusals import RefusalCode
from breakglass.models import AuditEvent, Notice, NoticeDelivery, NoticeRoute, Person
from breakglass.services import courier, notice_gaps, notice_routes, notices, playbooks
from breakglass.services.courier import Letter
from playbooks.loader import CATALOG
from playbooks.schema import PlaybookSpec
from tests.services.scene import Scene, refused, tags, trail_text
from tests.support.cast import Cast
from tests.support.clock import NOON
from tests.support.ports import free_port
from tests.support.receiver import Receiver, receiver

SECRET = "AbcSecretPath77"


class Broken(EmailBackend):
    def send_messages(self, messages: Any) -> int:
        raise OSError("connection refused")


@pytest.fixture
def house(settings: Any) -> Any:
    """Sets what the house says about notices: `house(notice_routes=...)`. Its own loopback is allowed already."""

    def says(**changes: str) -> None:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(
            update={"notice_networks": "127.0.0.0/8", **changes}
        )

    says()
    return says


@pytest.fixture(autouse=True)
def _rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before tried counts for none."""
    monkeypatch.setattr(notice_routes, "_tries", notice_routes._Tries())


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


def _queue(*people: Person, at: datetime = NOON, **more: Any) -> None:
    said = {"topic": "request:1", "subject": "Rita asks", "body": "The trend stopped", "path": "/requests/1/"}
    with transaction.atomic():
        notices.queue(people, **{**said, **more}, now=at)


def _way(person: Person, address: str, name: str = "my phone") -> NoticeRoute:
    return notice_routes.add(person, name, address, NOON)


def test_a_notice_goes_every_way_that_its_person_has(cast: Cast, house: Any, chat: Receiver) -> None:
    _way(cast.ada, chat.address)
    _queue(cast.ada, cast.ben)
    assert notices.deliver_due(NOON) == 3
    assert notices.deliver_due(NOON + timedelta(hours=1)) == 0
    assert {message.to[0] for message in mail.outbox} == {"ada@plant.example", "ben@plant.example"}
    (said,) = chat.got
    assert said["title"] == "[Breakglass] Rita asks"
    assert said["message"].startswith("The trend stopped\n")
    assert "/requests/1/" in said["message"]
    assert "changes nothing" in said["message"]


def test_nobody_reads_the_address_again(cast: Cast, house: Any, chat: Receiver) -> None:
    route = _way(cast.ada, chat.address + SECRET)
    assert SECRET.encode() not in bytes(route.url)
    assert SECRET not in trail_text()
    assert tags(route) == ["route:added"]
    assert (route.kind, notice_routes.label_of(route)) == ("json", "Webhook (JSON)")


def test_a_dead_way_hands_over_to_the_house_and_is_shown(scene: Scene, house: Any, settings: Any) -> None:
    """The receiver is killed: its failures are counted, the next best way is taken, and the requester reads of it."""
    settings.EMAIL_BACKEND = f"{__name__}.Broken"
    with receiver() as watch:
        house(notice_routes=f"ot-oncall={watch.address}")
        with receiver() as mine:
            _way(scene.cast.ada, mine.address)
        _queue(scene.cast.ada, topic="request:9", body="Look at REQ-9")
        assert notices.deliver_due(NOON) == 0
        (early,) = notice_gaps.about("request:9", NOON)
        assert early.says.startswith(
            "Ada Novak couldn't be told by mail (connection refused), my phone (no connection"
        )
        assert early.says.endswith("Tell them by phone.")
        # The second failure begins another way, at once.
        assert notices.deliver_due(NOON + timedelta(seconds=21)) == 1
        (said,) = watch.got
    assert said["message"].startswith(
        "For Ada Novak, who couldn't be told any other way. Pass it on.\nLook at REQ-9"
    )
    (gap,) = notice_gaps.about("request:9", NOON + timedelta(seconds=30))
    assert gap.says.endswith("; ot-oncall was told instead.")
    assert tags().count("notice:failed") == 2  # mail and the phone, once each


def test_it_goes_the_first_way_again_when_that_is_back(cast: Cast, house: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.Broken"
    port = free_port()
    with receiver(port) as mine:
        _way(cast.ada, mine.address)
    _queue(cast.ada)
    assert notices.deliver_due(NOON) == 0
    with receiver(port) as back:
        assert notices.deliver_due(NOON + timedelta(seconds=20)) == 1
        assert len(back.got) == 1
    assert notice_gaps.everywhere(NOON + timedelta(minutes=2)) == []
    assert NoticeRoute.objects.get().problem == ""


def test_a_playbook_names_ways_of_the_house(scene: Scene, house: Any, chat: Receiver) -> None:
    house(notice_routes=f"ot-oncall={chat.address}")
    scene.playbook(notify=["ot-oncall"])
    ask = scene.asked()
    notices.deliver_due(scene.now)
    assert [said["title"] for said in chat.got] == [
        f"[Breakglass] {ask.requester.full_name} asks for access: {ask.title}"
    ]


def test_a_playbook_with_a_way_that_isnt_there_isnt_published(scene: Scene, house: Any) -> None:
    spec = PlaybookSpec.from_plain({**scene.version.spec, "notify": ["ot-oncall"]})
    with refused(RefusalCode.BAD_INPUT) as said:
        playbooks.publish([spec], scene.now)
    assert "no way for notices called ot-oncall" in said[0].message


def test_check_playbooks_names_a_way_that_isnt_there(
    house: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        (CATALOG / "historian-down.yaml")
        .read_text()
        .replace("schema_version: 1", "schema_version: 1\nnotify: [ot-oncall]")
    )
    (tmp_path / "historian-down.yaml").write_text(text)
    with pytest.raises(CommandError, match="1 problems"):
        call_command("check_playbooks", str(tmp_path))
    assert "historian-down: notify: there is no way for notices called ot-oncall" in capsys.readouterr().out
    house(notice_routes="ot-oncall=jsons://chat.example/x")
    call_command("check_playbooks", str(tmp_path))


def test_a_way_of_the_house_that_was_taken_away_fails_aloud(scene: Scene, house: Any, chat: Receiver) -> None:
    house(notice_routes=f"ot-oncall={chat.address}")
    scene.playbook(notify=["ot-oncall"])
    house(notice_routes="")
    ask = scene.asked()
    notices.deliver_due(scene.now)
    says = [gap.says for gap in notice_gaps.about(f"request:{ask.pk}", scene.now)]
    assert says == [
        "ot-oncall couldn't be told by ot-oncall (that way isn't set up any more). Tell them by phone."
    ]


def test_one_that_hangs_holds_up_no_other(cast: Cast, house: Any, chat: Receiver) -> None:
    """What the others are told doesn't wait, and the pass ends; a hang is a failure like any other."""
    with receiver() as slow:
        slow.hangs = True
        for number in range(3):
            _way(cast.ada, slow.address, f"slow {number}")
        _way(cast.ben, chat.address)
        _queue(cast.ada, cast.ben)
        assert notices.deliver_due(NOON) == 3  # two mails and Ben's
    assert len(chat.got) == 1
    problems = set(NoticeDelivery.objects.filter(sent_at=None).values_list("problem", flat=True))
    assert len(problems) == 1
    assert "no answer" in problems.pop() or "no connection" in str(problems)


def test_what_is_queued_while_one_hangs_goes_at_once(
    cast: Cast, house: Any, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same pass, while the one that hangs is still waited for."""
    hear, hung = notices._hear, []

    def heard(under_way: Any) -> Any:
        waits = NoticeDelivery.objects.filter(route__name="slow", sent_at=None, problem="").exists()
        if waits and not hung:
            _queue(cast.ben)
        hung.append(waits and bool(chat.got))
        return hear(under_way)

    monkeypatch.setattr(notices, "_hear", heard)
    with receiver() as slow:
        slow.hangs = True
        _way(cast.ada, slow.address, "slow")
        _way(cast.ben, chat.address)
        _queue(cast.ada)
        notices.deliver_due(NOON)
    assert True in hung
    assert not NoticeDelivery.objects.filter(route__name="slow", problem="").exists()


def test_addresses_are_looked_at_a_few_times_a_minute(
    cast: Cast, house: Any, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look is a process: nobody starts them without end. Others aren't held up by it."""
    monkeypatch.setattr(courier, "deliver", lambda *_: "the address can't be used")
    for _ in range(notice_routes._Tries.MOST):
        with refused(RefusalCode.BAD_INPUT):
            notice_routes.add(cast.ada, "bad", chat.address, NOON)
    with refused(RefusalCode.THROTTLED):
        notice_routes.add(cast.ada, "bad", chat.address, NOON)
    with refused(RefusalCode.BAD_INPUT):
        notice_routes.add(cast.ben, "bad", chat.address, NOON)


def test_what_never_ends_by_itself_is_killed(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, pid = tmp_path / "child.py", tmp_path / "pid"
    child.write_text(f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    monkeypatch.setattr(courier, "CHILD", child)
    with courier.Round([Letter("1", "json://127.0.0.1:1/", "t", "b")], 0.1) as under_way:
        while not (pid.exists() and pid.read_text()):
            assert under_way._child and under_way._child.poll() is None
        assert under_way.problems() == {"1": courier.NO_ANSWER}
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    "address",
    [
        "json://10.0.0.1:9/",
        "json://169.254.169.254/latest",
        "jsons://10.0.0.1:9/",
        "json://[::1]:9/",
        "json://[::ffff:10.0.0.1]:9/",
    ],
)
def test_no_way_leads_into_the_house_but_where_it_may(house: Any, address: str) -> None:
    house(notice_networks="127.0.0.0/8")
    assert courier.deliver(Letter("1", address, "t", "b")) == "its address lies where notices may not go"


def test_without_such_networks_plain_addresses_arent_taken(cast: Cast, house: Any, chat: Receiver) -> None:
    house(notice_networks="")
    with refused(RefusalCode.BAD_INPUT) as said:
        _way(cast.ada, chat.address)
    assert "jsons://, with TLS" in said[0].message
    assert courier.deliver(Letter("1", chat.address, "t", "b")) == "its address lies where notices may not go"
    assert chat.got == []


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "syslog://", "exec://rm", "dbus://", "windows://", "mqtts://h/t", "ftp://h/", "http://h/",
        "jsons://h/?verify=no", "slack://a/b/c?template=/etc/passwd", "mailtos://u:p@h?pgpkey=/etc/shadow",
        "jsons://h/\njson://x", "jsons://", "slack://bad", "", "x" * 3000,
    ],
)  # fmt: skip
def test_what_could_read_files_or_run_programs_isnt_taken(cast: Cast, house: Any, address: str) -> None:
    with refused(RefusalCode.BAD_INPUT):
        _way(cast.ada, address)
    assert not NoticeRoute.objects.exists()


HOSTILE = (
    "@channel @everyone <!channel> <@U123> [sign in](https://evil.example/) ![x](http://evil.example/x.png)\x1b]0;t\x07 "
    "<script>alert(1)</script> *bold* _it_ `code` </at> www.evil.example javascript:alert(1) \u202egnp.exe\r\n\r\n\r\n\r\n&lt;b&gt; ~x~ |y| # h"
)


def test_hostile_words_do_nothing_where_they_arrive(cast: Cast, house: Any, chat: Receiver) -> None:
    _way(cast.ada, chat.address)
    _queue(cast.ada, subject=HOSTILE[:160], body=HOSTILE + "x" * 20_000)
    assert notices.deliver_due(NOON) == 2
    (said,) = chat.got
    words = said["title"] + said["message"].replace("http://localhost:8000/requests/1/", "LINK")
    for mark in "<>@`*[]&~|#\\\x1b\x07\u202e\r":
        assert mark not in words.replace("[Breakglass]", "")
    for acting in ("https://", "http://evil", "www.", "javascript:", "_it_", "\n\n\n"):
        assert acting not in words
    assert len(said["message"]) < 1200
    assert "\n" not in said["title"]


def test_a_test_message_says_that_it_is_one(cast: Cast, house: Any, chat: Receiver) -> None:
    route = _way(cast.ada, chat.address)
    assert notice_routes.try_out(cast.ada, route.pk, NOON) == ""
    assert "A test" in chat.got[0]["message"]
    with refused(RefusalCode.THROTTLED):
        notice_routes.try_out(cast.ada, route.pk, NOON)
    chat.status = 500
    assert notice_routes.try_out(cast.ada, route.pk, NOON + timedelta(minutes=1)) == "it answered 500"
    assert NoticeRoute.objects.get().problem == "it answered 500"


def test_a_way_that_is_off_or_gone_isnt_used(cast: Cast, house: Any, chat: Receiver) -> None:
    route = _way(cast.ada, chat.address)
    notice_routes.switch(cast.ada, route.pk, False, NOON)
    _queue(cast.ada)
    assert notices.deliver_due(NOON) == 1
    notices.remove_way(cast.ada, route.pk, NOON)
    assert chat.got == []
    assert tags(f"noticeroute:{route.pk}") == ["route:added", "route:switched", "route:removed"]


def test_what_only_a_removed_way_would_have_brought_takes_another(
    cast: Cast, house: Any, chat: Receiver
) -> None:
    house(notice_routes=f"ot-oncall={chat.address}")
    Person.objects.filter(pk=cast.ada.pk).update(email="")
    cast.ada.refresh_from_db()
    route = _way(cast.ada, "json://127.0.0.1:1/")
    _queue(cast.ada)
    notices.remove_way(cast.ada, route.pk, NOON)
    assert notices.deliver_due(NOON) == 1
    assert len(chat.got) == 1


def test_another_persons_way_isnt_there(cast: Cast, house: Any, chat: Receiver) -> None:
    route = _way(cast.ada, chat.address)
    for act in (
        lambda: notice_routes.try_out(cast.ben, route.pk, NOON),
        lambda: notice_routes.switch(cast.ben, route.pk, False, NOON),
        lambda: notices.remove_way(cast.ben, route.pk, NOON),
    ):
        with refused(RefusalCode.NOT_FOUND):
            act()


def test_a_new_way_is_told_on_the_old_ones(cast: Cast, house: Any, chat: Receiver) -> None:
    notices.add_way(cast.ada, "my phone", chat.address, NOON)
    assert notices.deliver_due(NOON) == 1
    assert "Was it not you?" in str(mail.outbox[0].body)
    assert chat.got == []
    with refused(RefusalCode.BAD_INPUT):
        notices.add_way(cast.ada, "my phone", chat.address, NOON)
    assert Notice.objects.count() == 1


def test_an_address_is_tried_while_no_transaction_waits_for_it(
    cast: Cast, house: Any, chat: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds: on SQLite nobody could write meanwhile."""
    outside, deep = len(connection.savepoint_ids), []

    def deliver(letter: Letter, *rest: Any) -> str:
        deep.append(len(connection.savepoint_ids))
        return ""

    monkeypatch.setattr(courier, "deliver", deliver)
    notices.add_way(cast.ada, "my phone", chat.address, NOON)
    assert deep == [outside]


def test_after_a_day_it_is_given_up_but_still_shown(cast: Cast, settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.Broken"
    _queue(cast.ada)
    notices.deliver_due(NOON)
    later = NOON + timedelta(hours=25)
    assert notices.deliver_due(later) == 0
    assert NoticeDelivery.objects.get().tries == 1
    assert len(notice_gaps.everywhere(later)) == 1


def test_nothing_sent_for_a_minute_is_said_too(cast: Cast) -> None:
    """The worker is away: nothing failed, and nobody was told."""
    _queue(cast.ada)
    assert notice_gaps.about("request:1", NOON + timedelta(seconds=59)) == []
    (gap,) = notice_gaps.about("request:1", NOON + timedelta(seconds=61))
    assert gap.says == "Ada Novak couldn't be told yet: nothing is being sent. Tell them by phone."


def test_the_courier_holds_no_secret_of_ours(
    monkeypatch: pytest.MonkeyPatch, house: Any, tmp_path: Path
) -> None:
    """Its environment, as it finds it: a child of ours that writes it down."""
    spy, seen = tmp_path / "spy.py", tmp_path / "seen"
    spy.write_text(
        f"import os, sys; open({str(seen)!r}, 'w').write(repr(dict(os.environ))); sys.stdin.read()"
    )
    monkeypatch.setattr(courier, "CHILD", spy)
    assert courier.deliver(Letter("1", "json://127.0.0.1:1/", "t", "b")) == courier.NO_ANSWER
    assert "PATH" in seen.read_text()
    assert "BREAKGLASS" not in seen.read_text()


def test_failures_name_no_address(cast: Cast, house: Any) -> None:
    _way(cast.ada, f"json://127.0.0.1:1/{SECRET}")
    _queue(cast.ada)
    notices.deliver_due(NOON)
    everything = json.dumps(
        [*NoticeDelivery.objects.values("problem"), *NoticeRoute.objects.values("problem", "name")]
    )
    assert "no connection" in everything
    assert SECRET not in everything + trail_text()
    assert AuditEvent.objects.filter(tag__endswith="notice:failed").count() == 1
