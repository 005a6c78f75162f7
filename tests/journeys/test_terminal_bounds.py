"""A sequence that says "two thousand million times", and a letter with a hundred thousand accents, hold up neither who watches
nor who works: both pages use these scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from breakglass.demo.place import ROOT
from tests.recording.hostile_corpus import HOSTILE
from tests.support.needs import requires

STATIC = ROOT / "breakglass/web/static"
PAGES = ROOT / "sessions/web/templates/gateway"
WRITE = """(text) => setTimeout(() => {
  const box = document.createElement('div');
  document.body.append(box);
  const term = new Terminal({cols: 80, rows: 24});
  boundTerminal(term);
  term.open(box);
  term.write(text + '\\x18\\x1bcstill standing', () => {
    window.shown = term.buffer.active.getLine(0).translateToString(true);
  });
}, 0)"""


@requires("chromium")
@pytest.mark.parametrize("name", ["huge numbers", "many insertions", "combining"])
def test_what_repeats_itself_without_end_is_dropped(browser: Browser, name: str) -> None:
    data = next(one.data for one in HOSTILE if one.name == name)
    repeats = "".join(f"\x1b[2147483647{final}" for final in "LMSTbIZ@PX")
    page = browser.new_page()
    page.add_script_tag(path=STATIC / "vendor/xterm.js")
    page.add_script_tag(path=STATIC / "breakglass/js/terminal-bounds.js")
    nothing = "e" + "\u0301\x7f" * 100_000 + "\x7f" * 100_000
    page.evaluate(WRITE, data.decode() + repeats + nothing)
    # A page that stands still answers nothing: the wait ends all the same.
    page.wait_for_function("window.shown === 'still standing'", timeout=60_000)
    page.close()


@requires("chromium")
def test_accents_that_a_language_needs_stay(browser: Browser) -> None:
    """In text and in bytes, a letter torn between two writes, too; of what is too many the first thirty stay."""
    page = browser.new_page()
    page.add_script_tag(path=STATIC / "vendor/xterm.js")
    page.add_script_tag(path=STATIC / "breakglass/js/terminal-bounds.js")
    shown = page.evaluate("""async () => {
      const term = new Terminal({cols: 80, rows: 24}), bytes = new TextEncoder().encode('a\u0308o\u0301\u0323');
      boundTerminal(term);
      term.write('\u0e17\u0e35\u0e48 e\u0301 ');
      for (const byte of bytes) { term.write(new Uint8Array([byte])); }
      term.write(' x' + '\u0301'.repeat(20));
      await new Promise(done => term.write('\u0301'.repeat(20) + 'y', done));
      return term.buffer.active.getLine(0).translateToString(true);
    }""")
    page.close()
    assert shown == "\u0e17\u0e35\u0e48 e\u0301 a\u0308o\u0301\u0323 x" + "\u0301" * 30 + "y"


@pytest.mark.parametrize(("page", "script"), [("watch", "watch-terminals"), ("terminal", "terminal")])
def test_both_pages_are_bounded(page: str, script: str) -> None:
    assert "js/terminal-bounds.js" in (PAGES / f"{page}.html").read_text()
    assert "window.boundTerminal(term);" in (STATIC / f"breakglass/js/{script}.js").read_text()
