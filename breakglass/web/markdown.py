"""Runbook Markdown to HTML that can do no harm: no raw HTML, no images, no inline style, only plain links.

Promise: whatever the source, the result holds only the tags of CommonMark and tables, every address in it is
http, https, a path on this site or a place on the page, and nothing in it needs an exception from the
content security policy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

LONGEST = 64 * 1024

_WEB = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def safe_link(url: str) -> bool:
    """Whether a runbook may point there: http(s), or relative without a host of its own."""
    if any(ord(sign) <= 32 or sign == "\\" for sign in url):
        return False
    if _WEB.match(url):
        return True
    return bool(url) and not url.startswith("//") and not _SCHEME.match(url)


def render(source: str) -> SafeString:
    """The HTML of a runbook, safe to put into a page."""
    return SafeString(_PARSER.render(source[:LONGEST]))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = safe_link  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    for cell in ("th_open", "td_open"):
        parser.add_render_rule(cell, _without_style)
    return parser


def _link_open(self: Any, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


def _without_style(self: Any, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    tokens[index].attrs.pop("style", None)
    return str(self.renderToken(tokens, index, options, env))


_PARSER = _parser()
