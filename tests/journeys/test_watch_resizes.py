"""Who resizes without end holds up no watcher's page: of many sizes the last one counts, and what was shown is all there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from breakglass.demo.place import ROOT
from tests.support.needs import requires

STATIC = ROOT / "breakglass/web/static"
PAGE = "<div id='box'></div><div id='tabs'></div>"
COUNT = """() => {
  window.terminals = new WatchTerminals(document.getElementById('box'), document.getElementById('tabs'));
  window.resizes = 0;
  const resize = Terminal.prototype.resize;
  Terminal.prototype.resize = function (columns, rows) { window.resizes += 1; resize.call(this, columns, rows); };
}"""
FLOOD = """(between) => setTimeout(() => {
  let text = '[0.1,"c","1"]\\n';
  for (let n = 0; n < 20000; n += 1) {
    text += `[0.1,"r","${2 + n % 900}x${2 + n % 300}"]\\n` + (between ? '[0.1,"o","shown\\\\r\\\\n"]\\n' : '');
  }
  window.terminals.feed(text + '[0.2,"r","77x33"]\\n[0.2,"o","the last"]\\n');
  window.fed = true;
}, 0)"""
SETTLED = """() => {
  const one = window.fed && window.terminals.channels.get('1'), term = one && one.term;
  if (!term || one.size || term.cols !== 77 || term.rows !== 33) { return false; }
  const buffer = term.buffer.active;
  return buffer.getLine(buffer.baseY + buffer.cursorY).translateToString(true) === 'the last';
}"""


@requires("chromium")
@pytest.mark.parametrize(("between", "most"), [(False, 3), (True, 10_000)])
def test_sizes_without_end_are_taken_together(browser: Browser, between: bool, most: int) -> None:
    page = browser.new_page()
    page.set_content(PAGE)
    page.add_script_tag(path=STATIC / "vendor/xterm.js")
    page.add_script_tag(path=STATIC / "breakglass/js/terminal-bounds.js")
    page.add_script_tag(path=STATIC / "breakglass/js/watch-terminals.js")
    page.evaluate(COUNT)
    page.evaluate(FLOOD, between)
    page.wait_for_function(SETTLED, timeout=60_000)
    assert 0 < page.evaluate("window.resizes") <= most
    page.close()
