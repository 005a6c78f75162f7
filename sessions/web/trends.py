"""Trends: how long people wait, what is asked for, how access ends and whether it is reviewed, over weeks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from breakglass import clock
from breakglass.domain.permissions import Verb
from breakglass.web.who import demand, person_of
from sessions.queries_trends import Trends, Waits
from sessions.queries_trends import trends as read
from sessions.web import plots

PERIODS = {"30": 30, "90": 90, "365": 364}
USUAL = "90"
WORDS = {"30": "30 days", "90": "13 weeks", "365": "a year"}


@require_safe
def trends(request: HttpRequest) -> HttpResponse:
    demand(person_of(request), Verb.SEE_TRENDS)
    chosen = request.GET.get("days", USUAL)
    chosen = chosen if chosen in PERIODS else USUAL
    found = read(PERIODS[chosen], clock.now())
    context = {
        "found": found,
        "chosen": chosen,
        "periods": WORDS.items(),
        "by_week": PERIODS[chosen] > 31,
        **_plots(found),
    }
    return render(request, "gateway/trends.html", context)


def _plots(found: Trends) -> dict[str, Any]:
    reviews = [(row.in_time, row.late, row.due, row.overdue) for row in found.reviews]
    return {
        "waits": [
            _waits("approve", "From request to approval", found.to_approve, found.approve_all, found),
            _waits("shell", "From request to shell", found.to_shell, found.shell_all, found),
        ],
        "reviews": plots.columns(("live", "wait", "act", "stop"), reviews),
        "review_rows": list(zip(found.buckets, found.reviews, strict=True)),
        "any_reviews": any(any(row) for row in reviews),
        "overrides": plots.columns(("stop",), [(count,) for count in found.overrides]),
        "override_rows": list(zip(found.buckets, found.overrides, strict=True)),
        "any_overrides": sum(found.overrides),
        "lists": [
            ("playbook", "Grants by playbook", "grants", plots.shares(found.by_playbook)),
            ("asset", "Grants by asset", "grants", plots.shares(found.by_asset)),
            ("cause", "How sessions ended", "sessions", plots.shares(found.by_cause)),
        ],
    }


def _waits(key: str, title: str, waits: Sequence[Waits], together: Waits, found: Trends) -> dict[str, Any]:
    series = (
        ("half of them", "act", [one.p50 for one in waits]),
        ("nine of ten", "wait", [one.p90 for one in waits]),
    )
    return {
        "key": key,
        "title": title,
        "plot": plots.curves(series),
        "together": together,
        "rows": list(zip(found.buckets, waits, strict=True)),
    }
