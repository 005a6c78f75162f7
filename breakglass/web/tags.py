"""What templates may say: icons, times that count down or up, states with a word and a shape."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

# state -> (colour class, icon, word)
STATES: dict[str, tuple[str, str, str]] = {
    "pending": ("wait", "wait", "waiting"),
    "approved": ("live", "done", "approved"),
    "denied": ("stop", "stop", "denied"),
    "withdrawn": ("", "ended", "withdrawn"),
    "lapsed": ("stop", "ended", "lapsed unanswered"),
    "armed": ("act", "wait", "ready, clock not started"),
    "active": ("live", "live", "live"),
    "released": ("", "done", "released"),
    "revoked": ("stop", "stop", "revoked"),
    "expired": ("", "ended", "expired"),
    "opening": ("act", "wait", "opening"),
    "live": ("live", "live", "live"),
    "ending": ("wait", "wait", "ending"),
    "ended": ("", "ended", "ended"),
    "open": ("live", "live", "open"),
    "closed": ("", "ended", "closed"),
    "sealed": ("live", "done", "sealed"),
    "recovered": ("wait", "done", "recovered after a crash"),
    "deleted": ("", "ended", "deleted by policy"),
    "frozen": ("wait", "wait", "frozen"),
    "due": ("wait", "wait", "review due"),
    "overdue": ("stop", "stop", "review overdue"),
    "signed": ("live", "done", "reviewed"),
    "retired": ("", "ended", "retired"),
    "template": ("", "ended", "template"),
    "old": ("stop", "alert", "old algorithms"),
    "current": ("live", "done", "in use"),
    "allowed": ("live", "done", "allowed"),
    "refused": ("stop", "stop", "refused"),
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A picture beside a word; screen readers pass it by."""
    return format_html(
        '<svg aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("breakglass/img/icons.svg"),
        name,
    )


@register.simple_tag
def pill(state: object, word: str = "") -> SafeString:
    """A state as word, shape and colour."""
    kind, shape, known = STATES.get(str(state), ("", "ended", str(state)))
    return format_html('<span class="pill {}">{}{}</span>', kind, icon(shape), word or known)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _utc(moment: datetime) -> str:
    return f"{moment:%d %b %Y %H:%M:%S} UTC"


def _now(context: dict[str, Any]) -> datetime:
    now = context["now"]
    assert isinstance(now, datetime)
    return now


def span(delta: timedelta) -> str:
    """A length of time in the one unit that matters."""
    seconds = int(abs(delta.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def digits(delta: timedelta) -> str:
    """The face of a countdown: 42:10, or 1:02:10."""
    seconds = max(0, -int(-delta.total_seconds() // 1))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@register.simple_tag(takes_context=True)
def until(
    context: dict[str, Any], moment: datetime | None, says: str = "left", over: str = ""
) -> SafeString | str:
    """A countdown to `moment`, kept by the server's clock. Beside it stand `{% unit says %}`, what it counts to, and
    `{% nearly moment says %}`; when it is over the face says so in a word, and the others are gone."""
    if moment is None:
        return ""
    over = over or NEARLY.get(says, NEARLY["left"])[2]
    left = moment - _now(context)
    face = digits(left) if left > timedelta(0) else over
    return format_html(
        '<time datetime="{}" title="{}" data-until="{}" data-over="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        _utc(moment),
        _milliseconds(moment),
        over,
        face,
    )


# What is said beside a clock within its last ten minutes, within its last, and on its face from then on, by what it counts
# to; kept by clock.js.
SOON, LAST = 600, 60
NEARLY = {
    "left": ("ends soon", "ends in under a minute", "ended"),
    "until it lapses": ("about to lapse", "lapses in under a minute", "lapsed"),
    "until you may": ("soon", "in under a minute", "now"),
    "until more people are woken": ("", "", "now"),
    "to log in": ("use it soon", "use it in under a minute", "too old"),
}


@register.simple_tag
def unit(says: str = "left") -> SafeString:
    """What a clock counts to, as long as it counts."""
    return format_html("<span data-unit>{}</span>", says)


@register.simple_tag(takes_context=True)
def nearly(context: dict[str, Any], moment: datetime | None, says: str = "") -> SafeString | str:
    """How near the end is, in words beside its clock; empty while it is far, or past. `says`: what the clock counts to."""
    soon, last, _ = NEARLY.get(says, NEARLY["left"])
    if moment is None or not soon:
        return ""
    left = (moment - _now(context)).total_seconds()
    word = "" if left <= 0 or left > SOON else last if left <= LAST else soon
    return format_html(
        '<span class="nearly{}" data-nearly="{}" data-soon="{}" data-last="{}">{}</span>',
        " last" if word == last else "",
        _milliseconds(moment),
        soon,
        last,
        word,
    )


@register.simple_tag(takes_context=True)
def ago(context: dict[str, Any], moment: datetime | None) -> SafeString | str:
    """How long ago, or in how long; the exact time in UTC on hover and for machines."""
    if moment is None:
        return ""
    passed = _now(context) - moment
    if timedelta(0) <= passed < timedelta(seconds=10):
        text = "just now"
    else:
        text = f"{span(passed)} ago" if passed > timedelta(0) else f"in {span(passed)}"
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}" data-ago="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        _utc(moment),
        _milliseconds(moment),
        text,
    )


@register.simple_tag(takes_context=True)
def at(context: dict[str, Any], moment: datetime | None) -> SafeString | str:
    """A moment as written: the hour today, the day too otherwise. UTC, and says so; clock.js says it in the reader's zone,
    and leaves UTC to the hover."""
    if moment is None:
        return ""
    same_day = moment.date() == _now(context).date()
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}" data-at="{}">{} UTC</time>',
        moment.isoformat(timespec="seconds"),
        _utc(moment),
        _milliseconds(moment),
        f"{moment:%H:%M}" if same_day else f"{moment:%d %b %H:%M}",
    )


@register.simple_tag
def stamp(moment: datetime) -> SafeString:
    """A moment to the second, with its day, for records; as `at`, in the reader's zone with UTC on hover."""
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}" data-at="{}" data-exact>{} UTC</time>',
        moment.isoformat(timespec="microseconds"),
        _utc(moment),
        _milliseconds(moment),
        f"{moment:%d %b %H:%M:%S}",
    )


@register.filter
def minutes(value: int | timedelta | None) -> str:
    """60 -> 1 h, 90 -> 1 h 30 min, 45 -> 45 min."""
    if value is None:
        return ""
    whole = int(value.total_seconds() // 60) if isinstance(value, timedelta) else int(value)
    hours, rest = divmod(whole, 60)
    parts = ([f"{hours} h"] if hours else []) + ([f"{rest} min"] if rest or not hours else [])
    return " ".join(parts)


@register.filter
def size(value: int | None) -> str:
    """Bytes as people say them."""
    number = float(value or 0)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


@register.filter
def took(milliseconds: float) -> str:
    """A length of time as people say it: 8.4 ms, 230 ms, 1.25 s, 3 min."""
    size = abs(milliseconds)
    if size < 10:
        return f"{size:.1f} ms".replace(".0 ", " ")
    if size < 1000:
        return f"{size:.0f} ms"
    return f"{size / 1000:.2f} s" if size < 60_000 else span(timedelta(milliseconds=size))


@register.filter
def seconds(value: float | None) -> str:
    """Seconds as people say them: 40 s, 1.5 min, 3 h."""
    if value is None:
        return ""
    if 60 < value < 600 and value % 60:
        return f"{value / 60:.1f} min"
    return took(value * 1000) if value < 1 else span(timedelta(seconds=value))


@register.filter
def after(milliseconds: float) -> str:
    """How long after, or before, the moment that is counted from."""
    return f"{took(milliseconds)} {'before' if milliseconds < 0 else 'after'}"


@register.filter
def signed(milliseconds: float) -> str:
    """The same, short: +8.4 ms, -2 ms."""
    return f"{'-' if milliseconds < 0 else '+'}{took(milliseconds)}"


@register.filter
def words(value: object) -> str:
    """client_closed -> client closed."""
    return str(value).replace("_", " ")
