"""A runbook is shown to people under pressure: it may look good, and can do nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.web.markdown import render, safe_link
from playbooks.loader import load_catalog

TAGS = {
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "em", "strong", "code", "pre", "a", "br", "hr",
    "blockquote", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {"href", "title", "rel", "class", "start"}


def assert_harmless(html: str) -> None:
    for tag, rest in re.findall(r"</?([a-zA-Z0-9]+)((?:\s[^<>]*)?)/?>", html):
        assert tag in TAGS, html
        for name, value in re.findall(r'([a-zA-Z-]+)="([^"]*)"', rest):
            assert name in ATTRIBUTES, html
            if name == "href":
                assert safe_link(value.replace("&amp;", "&")), html
    assert re.sub(r"</?[a-z0-9]+(\s[a-z-]+=\"[^\"]*\")*\s?/?>", "", html).count("<") == 0, html


@pytest.mark.parametrize("playbook", load_catalog(), ids=lambda p: p.spec.slug)
def test_each_runbook_of_the_catalogue_becomes_harmless_html(playbook: object) -> None:
    html = render(playbook.spec.runbook)  # type: ignore[attr-defined]
    assert "<h2>Steps</h2>" in html
    assert_harmless(html)


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "![x](https://evil.example/x.png)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x](//evil.example/)",
        "[x](\\\\evil.example\\x)",
        "[x](ssh://host)",
        "<javascript:alert(1)>",
        '[x](https://ok.example/" onmouseover="alert(1))',
        '[x](/a "t\\" onclick=\\"x")',
        "| a | b |\n|:-|-:|\n| 1 | 2 |",
        "```html\n<b>\n```",
        "<svg/onload=alert(1)>",
        "[a]: javascript:alert(1)\n\n[a]",
        "[x](&#106;avascript:alert(1))",
    ],
)
def test_nothing_that_acts_gets_through(source: str) -> None:
    html = render(source)
    assert_harmless(html)
    assert "style=" not in html


@given(st.text(alphabet="<>[]()!\"'=:/\\&;#`|-\n abjs.", max_size=200))
def test_no_text_whatever_makes_harmful_html(source: str) -> None:
    assert_harmless(render(source))


@pytest.mark.parametrize("url", ["https://a.example/x", "http://a/", "/playbooks/", "x/y", "#steps", "?q=1"])
def test_plain_links_work_and_tell_the_other_site_nothing(url: str) -> None:
    assert f'<a href="{url}" rel="noopener noreferrer nofollow">' in render(f"[x]({url})")


def test_a_table_stays_a_table_without_inline_style() -> None:
    html = render("| a |\n|--:|\n| 1 |")
    assert "<table>" in html
    assert "<td>1</td>" in html
