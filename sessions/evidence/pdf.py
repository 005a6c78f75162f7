"""The report as PDF, with the same words and the same picture as the HTML.

The house's font knows Latin letters. Others are taken from DejaVu where this machine has it, else written as U+0141:
never left out, and never a box that could stand for anything.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer
from reportlab.platypus import Table as Grid

from breakglass.domain.text import visible
from sessions.evidence.report import Fact, Report, Section
from sessions.evidence.timeline import COLOURS, Bar, Dot, Picture, Stroke, Text

FONTS: Final = Path(__file__).parent / "fonts"
DEJAVU: Final = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
PLAIN, BOLD, MONO, OTHER = "Atkinson", "Atkinson-Bold", "Atkinson-Mono", "DejaVu"
MARGIN: Final = 15 * mm
FRAME: Final = 6  # what platypus keeps free inside its frame
ROOM: Final = A4[0] - 2 * MARGIN - 2 * FRAME
_MOODS: Final = {"live": ("live", "live-wash"), "wait": ("ink", "wait-wash"), "stop": ("stop", "stop-wash")}


def pages(report: Report) -> bytes:
    """The PDF. Of one report always the same bytes."""
    _fonts()
    sink = io.BytesIO()
    document = SimpleDocTemplate(
        sink,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=14 * mm,
        bottomMargin=17 * mm,
        title=_known(f"Evidence: {report.title}"),
        author=_known(report.foot),
        invariant=1,
        lang="en",
    )
    foot = partial(_foot, _short(report.foot, 130))
    document.build(list(_story(report)), onFirstPage=foot, onLaterPages=foot)
    return sink.getvalue()


def _story(report: Report) -> Iterator[Flowable]:
    yield _paragraph("Evidence of emergency access", 8.5, "soft")
    yield _paragraph(report.title, 19, "ink", BOLD, after=2)
    yield _paragraph(report.under, 10, "soft", after=8)
    yield _verdict(report)
    for alarm in report.alarms:
        yield _paragraph(f"\u2022 {alarm}", 9.5, "stop", BOLD, after=2)
    yield Spacer(1, 5)
    yield _facts(report.facts)
    yield Spacer(1, 8)
    yield Drawing(report.picture)
    first, *others = report.sections
    yield from _section(first)
    yield PageBreak()
    for section in others:
        yield from _section(section)


def _verdict(report: Report) -> Flowable:
    colour, wash = _MOODS[report.mood]
    grid = Grid([[_paragraph(report.verdict, 10.5, colour, BOLD)]], colWidths=[ROOM])
    grid.setStyle([
        ("BACKGROUND", (0, 0), (-1, -1), _colour(wash)),
        ("LINEBEFORE", (0, 0), (0, -1), 4, _colour("wait" if report.mood == "wait" else colour)),
        ("LEFTPADDING", (0, 0), (-1, -1), 10),
        ("TOPPADDING", (0, 0), (-1, -1), 6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
    ])  # fmt: skip
    grid.spaceAfter = 6
    return grid


def _facts(facts: tuple[Fact, ...]) -> Flowable:
    rows = []
    for fact in facts:
        answer = [_paragraph(fact.says, 9.5, "ink", BOLD)]
        answer += [_paragraph(line, 8.5, "soft") for line in fact.beside]
        rows.append([_paragraph(fact.asks, 9.5, "soft"), answer])
    grid = Grid(rows, colWidths=[29 * mm, ROOM - 29 * mm])
    grid.setStyle([*_TIGHT, ("BOTTOMPADDING", (0, 0), (-1, -1), 4)])
    return grid


_TIGHT: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
]


def _section(section: Section) -> Iterator[Flowable]:
    head: list[Flowable] = [
        CondPageBreak(30 * mm),
        Spacer(1, 12),
        _paragraph(section.title, 12.5, "ink", BOLD, after=3),
    ]
    head += [_paragraph(line, 8.5, "soft", after=3) for line in section.says]
    items = [_paragraph(f"\u2022 {item}", 8.5, "ink", after=2, hang=8) for item in section.items]
    if section.table is None:
        yield from [*head, *items]
        return
    yield from [*head, *items]
    table = section.table
    whole = sum(table.shares)
    widths = [ROOM * share / whole for share in table.shares]
    fonts = [MONO if at in table.mono else PLAIN for at in range(len(table.heads))]
    rows = [
        [_paragraph(cell, 7.5, "ink", font) for cell, font in zip(row, fonts, strict=True)]
        for row in table.rows
    ]
    headed = any(table.heads)
    if headed:
        rows.insert(0, [_paragraph(head, 7.5, "soft", BOLD) for head in table.heads])
    grid = Grid(rows, colWidths=widths, repeatRows=1 if headed else 0)
    grid.setStyle([*_TIGHT, ("LINEBELOW", (0, 0), (-1, -1), 0.4, _colour("line"))])
    yield grid


class Drawing(Flowable):  # type: ignore[misc]
    """The timeline, as wide as the page."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self._picture = picture
        self._scale = ROOM / picture.width
        self.width, self.height = ROOM, picture.height * self._scale

    def draw(self) -> None:
        canvas: Canvas = self.canv
        canvas.scale(self._scale, self._scale)
        for shape in self._picture.shapes:
            _draw(canvas, shape, self._picture.height)


def _draw(canvas: Canvas, shape: Bar | Stroke | Dot | Text, height: float) -> None:
    match shape:
        case Bar():
            canvas.setFillColor(_colour(shape.fill))
            canvas.setStrokeColor(_colour(shape.edge))
            canvas.setLineWidth(1)
            canvas.roundRect(shape.x, height - shape.y - shape.height, shape.width, shape.height, 1, fill=1)
        case Stroke():
            canvas.setStrokeColor(_colour(shape.colour))
            canvas.setLineWidth(shape.width)
            canvas.line(shape.x1, height - shape.y1, shape.x2, height - shape.y2)
        case Dot():
            canvas.setFillColor(_colour(shape.colour))
            canvas.setStrokeColor(HexColor("#ffffff"))
            canvas.setLineWidth(1)
            canvas.circle(shape.x, height - shape.y, shape.radius, fill=1)
        case Text():
            canvas.setFillColor(_colour(shape.colour))
            canvas.setFont(BOLD if shape.bold else PLAIN, shape.size)
            say = {
                "start": canvas.drawString,
                "middle": canvas.drawCentredString,
                "end": canvas.drawRightString,
            }
            say[shape.anchor](shape.x, height - shape.y, _known(visible(shape.words)))


def _foot(words: str, canvas: Canvas, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(PLAIN, 7.5)
    canvas.setFillColor(_colour("soft"))
    canvas.drawString(MARGIN + FRAME, 10 * mm, _known(visible(words)))
    canvas.drawRightString(A4[0] - MARGIN - FRAME, 10 * mm, f"page {document.page}")
    canvas.restoreState()


def _paragraph(
    text: str, size: float, colour: str, font: str = PLAIN, *, after: float = 0, hang: float = 0
) -> Paragraph:
    style = ParagraphStyle(
        "", fontName=font, fontSize=size, leading=size * 1.28, textColor=_colour(colour), spaceAfter=after,
        alignment=TA_LEFT, splitLongWords=1, leftIndent=hang, firstLineIndent=-hang, uriWasteReduce=0,
    )  # fmt: skip
    return Paragraph(_markup(visible(text), font), style)


def _markup(text: str, font: str) -> str:
    """Escaped, with runs that the font can't draw in the other one."""
    letters = _letters(font)
    if all(ord(char) in letters for char in text):
        return escape(text)
    others = _letters(OTHER) if OTHER in pdfmetrics.getRegisteredFontNames() else frozenset()
    parts = []
    for char in text:
        if ord(char) in letters or char in "\n\t":
            parts.append(escape(char))
        elif ord(char) in others:
            parts.append(f'<font name="{OTHER}">{escape(char)}</font>')
        else:
            parts.append(_named(char))
    return "".join(parts)


def _known(text: str) -> str:
    """For lines that are drawn in the house's font alone."""
    letters = _letters(PLAIN)
    return "".join(char if ord(char) in letters else _named(char) for char in text)


def _named(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char)[0]
    return plain if unicodedata.category(char) == "Zs" else f"[U+{ord(char):04X}]"


@cache
def _letters(font: str) -> frozenset[int]:
    return frozenset(pdfmetrics.getFont(font).face.charToGlyph)


@cache
def _fonts() -> None:
    for name, file in (
        (PLAIN, "atkinson-next-400"),
        (BOLD, "atkinson-next-700"),
        (MONO, "atkinson-mono-400"),
    ):
        pdfmetrics.registerFont(TTFont(name, FONTS / f"{file}.ttf"))
    try:
        pdfmetrics.registerFont(TTFont(OTHER, DEJAVU))
    except (TTFError, OSError):
        return


@cache
def _colour(name: str) -> HexColor:
    return HexColor(COLOURS[name])


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
