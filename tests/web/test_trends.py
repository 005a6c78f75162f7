"""The page of trends: true figures, plots that stay in their frame, and the same in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from breakglass import clock
from breakglass.models import AccessRequest, Grant
from sessions.models import Review, SSHSession
from sessions.queries_trends import trends, waits
from sessions.web import plots
from tests.support.many import past
from tests.web.conftest import Enter
from tests.web.stage import Scene

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


def test_waits_are_counted_by_nearest_rank() -> None:
    found = waits([float(n) for n in range(1, 11)])
    assert (found.count, found.p50, found.p90) == (10, 5.0, 9.0)
    assert waits([]).p50 is None


@pytest.mark.django_db
def test_each_thing_is_counted_in_the_day_in_which_it_happened(scene: Scene) -> None:
    now = clock.now()
    before = trends(30, now)
    past(20, now)
    after = trends(30, now)
    assert after.grants == before.grants + 20
    assert sum(one.count for one in after.to_approve) == sum(one.count for one in before.to_approve) + 20
    assert sum(one.count for one in after.to_shell) == sum(one.count for one in before.to_shell) + 20
    assert dict(after.by_playbook)["historian-down"] == dict(before.by_playbook)["historian-down"] + 20
    assert dict(after.by_cause)["client_closed"] == dict(before.by_cause)["client_closed"] + 20
    # Asked three minutes before the approval, connected a minute after it.
    newest = [one for one in after.to_approve if one.count][-1]
    assert newest.p90 is not None and newest.p90 >= 60


@pytest.mark.django_db
def test_reviews_and_overrides_are_told_apart(scene: Scene) -> None:
    now = clock.now()
    before = trends(30, now)
    past(4, now, reviews_due=2)
    reviews = list(Review.objects.order_by("-pk")[:4])
    Review.objects.filter(pk=reviews[0].pk).update(due_at=now - timedelta(hours=1))
    Review.objects.filter(pk=reviews[3].pk).update(signed_at=now, due_at=now - timedelta(hours=2))
    AccessRequest.objects.filter(grant__review=reviews[2]).update(is_override=True)
    after = trends(30, now)
    total = {
        name: sum(getattr(one, name) for one in after.reviews)
        - sum(getattr(one, name) for one in before.reviews)
        for name in ("in_time", "late", "due", "overdue")
    }
    assert total == {"in_time": 1, "late": 1, "due": 1, "overdue": 1}
    assert sum(after.overrides) == sum(before.overrides) + 1


@pytest.mark.django_db
def test_a_year_is_shown_by_week_and_ends_with_today(scene: Scene) -> None:
    found = trends(364, NOW)
    assert len(found.buckets) == 52
    assert found.buckets[-1].start < NOW < found.buckets[-1].end
    assert all(one.end - one.start == timedelta(days=7) for one in found.buckets)


def test_round_figures_stand_at_the_edge() -> None:
    assert [plots.nice(value) for value in (0, 0.7, 1, 3, 12, 50, 51)] == [
        1.0,
        1.0,
        1.0,
        5.0,
        20.0,
        50.0,
        100.0,
    ]
    assert plots.nice(1, whole=True) == 2


def test_a_gap_in_a_curve_stays_a_gap() -> None:
    (line,) = plots.curves([("x", "act", [1.0, 2.0, None, 4.0])]).lines
    assert line.stretches == ["10,80 30,60"]
    assert [x for x, _ in line.dots] == [10, 30, 70]


def test_columns_stand_on_the_ground_and_on_each_other() -> None:
    plot = plots.columns(("live", "stop"), [(3, 1), (0, 0), (0, 5)])
    assert [(bar.kind, bar.y, bar.height) for bar in plot.bars] == [
        ("live", 40.0, 60.0), ("stop", 20.0, 20.0), ("stop", 0.0, 100.0),
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("days", ["30", "90", "365", "nonsense"])
def test_the_page_says_in_words_what_it_draws(scene: Scene, enter: Enter, days: str) -> None:
    past(30, clock.now())
    page = enter("vera").get("/trends/", {"days": days}).content.decode()
    assert page.count("<svg viewBox") >= 4
    assert "historian-down" in page and "client closed" in page
    inside = [float(y) for y in re.findall(r'points="[^"]*?,([\d.]+)', page)]
    assert all(0 <= y <= 100 for y in inside)
    assert "style=" not in page


@pytest.mark.django_db
def test_an_empty_house_is_told_what_will_stand_here(scene: Scene, enter: Enter) -> None:
    Review.objects.all().update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    Grant.objects.all().update(issued_at=datetime(2020, 1, 1, tzinfo=UTC))
    SSHSession.objects.all().update(opened_at=datetime(2020, 1, 1, tzinfo=UTC))
    page = enter("vera").get("/trends/").content.decode()
    assert "Nothing has happened in this time." in page
