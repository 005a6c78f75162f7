"""Readable at three in the morning: no sideways scroll, contrast in both themes, keyboard first, told what goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

SMALL = {"width": 360, "height": 740}
PAGES = {
    "rita": ["/", "/search/", "/search/?q=plantctl", "/wallboard/", "/profile/notices/", "/playbooks/", "/playbooks/historian-down/", "/playbooks/historian-down/request/", "/incidents/",
             "/incidents/open/", "/assets/", "/assets/hist-01/", "/sessions/", "/profile/", "/nowhere/", "/mail/"],
    "ada": ["/", "/inbox/"],
    "vera": ["/reviews/", "/sessions/", "/reviews/1/", "/findings/", "/trends/", "/ends/"],
    "otto": ["/audit/"],
    "admin": ["/locks/", "/people/", "/kiosks/", "/records/", "/records/breakglass/person/"],
}  # fmt: skip

# The contrast of every piece of text with what lies behind it, as WCAG 2.2 computes it; names what falls short.
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] === undefined ? 1 : m[3]]; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, e = node.parentElement;
    if (!node.textContent.trim() || !e.checkVisibility() || e.closest('.said, .skip, .ap-player, script, option')) continue;
    const style = getComputedStyle(e), a = light(parse(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), big = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (big ? 3 : 4.5)) poor.add(node.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return [...poor];
}"""
# Things to press that a thumb would miss.
TINY = """() => [...document.querySelectorAll('button, a.btn, nav a, summary, input:not([type=hidden]), select, textarea')]
  .filter((e) => e.checkVisibility() && !e.closest('.ap-player, .choice'))
  .map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.height < 24 || r.width < 24)
  .map(([e, r]) => e.outerHTML.slice(0, 60) + ' ' + Math.round(r.width) + 'x' + Math.round(r.height))"""
NAMELESS = """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea')]
  .filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.ariaLabel || (e.labels && e.labels.length)))
  .map((e) => e.outerHTML.slice(0, 80))"""


AXE = ROOT / "node_modules/axe-core/axe.min.js"
# Levels A and AA of WCAG 2.0 to 2.2, and what axe calls good practice; or one rule alone.
RULES = """async (only) => { const found = await axe.run(document, {runOnly: only ? {type: 'rule', values: [only]} : {type: 'tag',
    values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}});
  return found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(' | ')); }"""


def axe(page: Page, only: str = "") -> list[str]:
    """What axe-core holds against the page as it is now; by the rule `only`, if one is named."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found: list[str] = page.evaluate(RULES, only)
    return found


@requires("chromium")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("who", list(PAGES))
def test_every_page_is_readable_on_a_phone(visit: Visit, who: str, dark: bool) -> None:
    page = visit(who, PAGES[who][0], size=SMALL, dark=dark)
    problems: list[Any] = []
    for path in PAGES[who]:
        _open(page, path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        problems += [f"{path} scrolls sideways by {over}"] if over > 0 else []
        problems += [f"{path} {what}: {found}" for what, script in
                     (("contrast", CONTRAST), ("too small", TINY), ("no name", NAMELESS))
                     for found in page.evaluate(script)]  # fmt: skip
        problems += [f"{path} axe: {found}" for found in axe(page)]
        name = path.strip("/").replace("/", "-") or "start"
        picture(page, f"page {name} {who} {'dark' if dark else 'light'} phone")
    assert problems == []


# Something wrong of each kind, to see that the checks see it.
SPOIL = """() => { const add = (tag, text, css) => { const e = document.createElement(tag); e.textContent = text;
  Object.assign(e.style, css); document.querySelector('main').append(e); };
  add('p', 'Pale text', {color: 'rgb(200, 200, 200)', backgroundColor: 'rgb(255, 255, 255)'});
  add('button', '', {width: '10px', height: '10px', padding: '0', minHeight: '0'}); }"""


@requires("chromium")
def test_the_checks_would_see_it(visit: Visit) -> None:
    page = visit("rita", "/incidents/", size=SMALL)
    page.evaluate(SPOIL)
    assert any("Pale text" in found for found in page.evaluate(CONTRAST))
    assert len(page.evaluate(TINY)) == 1
    assert len(page.evaluate(NAMELESS)) == 1


@requires("chromium")
def test_every_page_at_a_desk(visit: Visit) -> None:
    for who, paths in PAGES.items():
        page = visit(who, paths[0], size=DESK)
        for path in paths:
            _open(page, path)
            picture(page, f"page {path.strip('/').replace('/', '-') or 'start'} {who} desk")


@requires("chromium")
def test_asking_by_keyboard_alone(visit: Visit) -> None:
    page = visit("rob", size=DESK)
    page.goto("/playbooks/hmi-failover/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    _tab_to(page, page.get_by_role("link", name="Ask for access").first)
    page.keyboard.press("Enter")
    # What is asked of everybody has the focus already; the rest is filled in, and a step back.
    expect(page.get_by_label("What is broken, and what will you do?")).to_be_focused()
    _tab_to(page, page.get_by_label("Which incident?"), "Shift+Tab")
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.keyboard.type("HMI shows stale values")
    page.keyboard.press("Tab")
    page.keyboard.type("Screens freeze on line 2; move operators to the standby.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send the request")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Waiting for an answer")).to_be_visible()
    page.get_by_role("button", name="Withdraw").press("Enter")
    expect(page.get_by_role("heading", name="Withdrawn")).to_be_visible()


@requires("chromium")
def test_a_wrong_clock_on_the_phone_changes_nothing(stack: Stack, visit: Visit) -> None:
    ask = _pending(stack)
    page = visit("rob", "/", size=PHONE)
    page.add_init_script(
        "Date.now = () => 5; const D = Date; Date = class extends D { constructor(...a) { a.length ? super(...a) : super(5); } };"
    )
    page.goto(f"/requests/{ask}/")
    face = page.locator("main [data-until]").first.inner_text()
    minutes = int(re.match(r"\d+", face)[0])  # type: ignore[index]
    assert 3 <= minutes <= 10
    before = page.locator("main [data-until]").first.inner_text()
    expect(page.locator("main [data-until]").first).not_to_have_text(before)
    stack.call("rob", "POST", f"requests/{ask}/withdraw")
    expect(page.get_by_role("heading", name="Withdrawn")).to_be_visible()


@requires("chromium")
def test_without_the_stream_the_page_looks_by_itself(stack: Stack, visit: Visit) -> None:
    ask = _pending(stack)
    page = visit("rob", "/", size=PHONE)
    page.route("**/events/", lambda route: route.abort())
    page.goto(f"/requests/{ask}/")
    expect(page.get_by_role("heading", name="Waiting for an answer")).to_be_visible()
    stack.call("rob", "POST", f"requests/{ask}/withdraw")
    expect(page.get_by_role("heading", name="Withdrawn")).to_be_visible()


@requires("chromium")
def test_a_lost_line_is_said_and_found_again(stack: Stack, visit: Visit) -> None:
    ask = _pending(stack)
    page = visit("rob", f"/requests/{ask}/", size=PHONE)
    expect(page.locator("#lost")).to_be_hidden()
    page.context.set_offline(True)
    expect(page.get_by_text("No line to the server.")).to_be_visible()
    picture(page, "no line to the server", whole=False)
    stack.call("rob", "POST", f"requests/{ask}/withdraw")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name="Withdrawn")).to_be_visible()
    expect(page.locator("#lost")).to_be_hidden()


@requires("chromium")
def test_the_command_is_copied(stack: Stack, visit: Visit) -> None:
    ask = _pending(stack)
    stack.call("ben", "POST", f"requests/{ask}/approve", {"otp": stack.code("ben")})
    page = visit("rob", f"/requests/{ask}/", size=PHONE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#way-1").inner_text()
    page.get_by_role("button", name="I'm done: release").click()
    expect(page.get_by_role("heading", name="Released")).to_be_visible()


def _open(page: Page, path: str) -> None:
    answer = page.goto(path)
    assert answer is not None and answer.status == (404 if path == "/nowhere/" else 200), path
    expect(page.locator("h1")).to_have_count(1)
    if path.startswith("/search/?"):  # a link fills the form; the page then asks by itself
        expect(page.locator("#search-found[data-says*='found']")).to_be_attached()


def _pending(stack: Stack) -> str:
    incident = stack.call("rob", "POST", "incidents", {"title": "HMI shows stale values"}).body["id"]
    plea = {
        "playbook": "hmi-failover",
        "incident": incident,
        "assets": ["hmi-02"],
        "reason": "Move operators to standby",
    }
    return str(stack.call("rob", "POST", "requests", plea).body["id"])


def _tab_to(page: Page, target: Any, key: str = "Tab") -> None:
    for _ in range(40):
        if target.evaluate("e => e === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError("not reached by Tab")
