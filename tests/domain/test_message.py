"""Words on their way into chats: read, never acted on. Addresses: what isn't known is refused."""

from __future__ import annotations

import pytest

from breakglass.domain.message import harmless, harmless_line
from breakglass.domain.notice_kinds import BARRED, KINDS, BadAddress, kind_of, networks_in, routes_in


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("REQ-4, INC-2: the trend stopped", "REQ-4, INC-2: the trend stopped"),
        ("snake_case_stays, _this_ and __that__ don't", "snake_case_stays, ＿this＿ and ＿＿that＿＿ don't"),  # noqa: RUF001
        ("@here <!here> [a](https://x.example)", "＠here ‹!here› (a)(https ://x.example)"),  # noqa: RUF001
        ("www.x.example mailto:a", "www .x.example mailto :a"),
        ("a\r\n\r\n\r\n\r\nb\x1b[31m\x00\u202e", "a\n\nb\ufffd(31m\ufffd\ufffd"),
        ("  ", ""),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
)
def test_marks_that_act_are_replaced_and_words_stay(typed: str, said: str) -> None:
    assert harmless(typed, 100) == said


def test_it_is_cut_and_says_so() -> None:
    assert harmless("x" * 50, 10) == "x" * 9 + "…"
    assert harmless_line("a\nb\n\nc", 10) == "a b c"


def test_no_kind_reaches_files_programs_or_desktops() -> None:
    assert not {
        "file",
        "exec",
        "syslog",
        "rsyslog",
        "dbus",
        "gnome",
        "windows",
        "macosx",
        "mqtt",
        "smpp",
        "vapid",
    } & set(KINDS)
    assert {kind.scheme for kind in KINDS.values() if kind.plain} == {
        "mmost", "rocket", "matrix", "ntfy", "gotify", "json", "xml", "form", "mailto",
    }  # fmt: skip
    assert {"verify", "template", "pgpkey", "retry", "optional"} <= BARRED


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("https://hooks.slack.com/services/T/B/x", "Slack"),
        ("https://prod-1.westeurope.logic.azure.com/workflows/x", "Microsoft Teams"),
        ("https://example.org/hook", "Webhook (JSON)"),
        ("https://evilhooks.slack.com.example.org/", "Webhook (JSON)"),
        ("pagerduty://key@api", "PagerDuty"),
    ],
)
def test_what_services_give_is_known_for_what_it_is(address: str, label: str) -> None:
    assert kind_of(address).label == label


@pytest.mark.parametrize(
    "text", ["ot-oncall", "Ops=slack://a/b/c", "a=file:///x", "a=jsons://h a=jsons://h", "=jsons://h"]
)
def test_a_wrong_line_of_the_settings_is_refused_without_its_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^:]*:? ?[a-z]") as wrong:
        routes_in(text)
    assert "://h" not in str(wrong.value)


def test_the_order_of_the_settings_is_kept() -> None:
    assert list(routes_in("b=jsons://h/ a=slack://x/y/z")) == ["b", "a"]
    assert len(networks_in("10.0.0.0/8, ::1/128")) == 2
    with pytest.raises(BadAddress):
        kind_of("https:///nothing")
