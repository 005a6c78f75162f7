"""The report as one HTML page: no script, nothing from elsewhere, prints well."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from django.template import Context, Engine
from django.utils.safestring import mark_safe

from breakglass.domain.text import visible
from sessions.evidence.report import Fact, Report, Section
from sessions.evidence.timeline import svg

HERE = Path(__file__).parent
FONT = HERE.parents[1] / "breakglass/web/static/breakglass/fonts/atkinson-hyperlegible-next.woff2"


def page(report: Report) -> bytes:
    """Everything that others wrote is escaped, and shown where it would hide something."""
    context = {
        "report": {
            **vars(report),
            "title": visible(report.title),
            "under": visible(report.under),
            "verdict": visible(report.verdict),
            "facts": [_fact(fact) for fact in report.facts],
            "alarms": [visible(alarm) for alarm in report.alarms],
            "sections": [_section(section) for section in report.sections],
        },
        "picture": mark_safe(svg(report.picture)),  # every word in it is escaped there
        "font": _font(),
    }
    return Engine(autoescape=True).from_string(_template()).render(Context(context)).encode()


def _fact(fact: Fact) -> Fact:
    return Fact(fact.asks, visible(fact.says), tuple(map(visible, fact.beside)))


def _section(section: Section) -> dict[str, object]:
    table = section.table
    cells = [[(cell, at in table.mono) for at, cell in enumerate(row)] for row in table.rows] if table else []
    return {**vars(section), "cells": cells, "items": [visible(item) for item in section.items]}


@cache
def _template() -> str:
    return (HERE / "report.html").read_text(encoding="utf-8")


@cache
def _font() -> str:
    return base64.b64encode(FONT.read_bytes()).decode()
