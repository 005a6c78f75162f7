"""What a recording may hold to hurt whoever reads it later: in a terminal, a browser, a mail, a spreadsheet, a PDF.

Reused by the tests of every face that shows recorded text. `marker` is a word that must not act, and `seen` one that a reader
should still find, where the case has one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hostile:
    """Bytes as an asset could send them."""

    name: str
    data: bytes
    seen: str = ""


_MB = 1024 * 1024

HOSTILE: tuple[Hostile, ...] = (
    Hostile("osc 8 link", b"\x1b]8;;javascript:alert(1)\x1b\\click me\x1b]8;;\x1b\\\r\n", "click me"),
    Hostile("osc 8 file link", b"\x1b]8;;file:///etc/passwd\x07passwd\x1b]8;;\x07\r\n", "passwd"),
    Hostile("osc 52 clipboard", b"\x1b]52;c;cm0gLXJmIC8K\x07after clipboard\r\n", "after clipboard"),
    Hostile("osc 52 asks", b"\x1b]52;c;?\x07asked\r\n", "asked"),
    Hostile("title", b"\x1b]0;<script>alert(1)</script>\x07titled\r\n", "titled"),
    Hostile("title asked back", b"\x1b]2;rm -rf /\x07\x1b[21t reported\r\n", "reported"),
    Hostile("osc 1337 file", b"\x1b]1337;File=name=eA==;inline=1:QUJD\x07inline\r\n", "inline"),
    Hostile("osc 9 notice", b"\x1b]9;you have been hacked\x07\x1b]777;notify;a;b\x07noticed\r\n", "noticed"),
    Hostile("closing script", b"</script><script>alert(1)</script>\r\n", "alert"),
    Hostile("image with onerror", b'"><img src=x onerror=alert(1)>\r\n', "onerror"),
    Hostile("svg", b"<svg/onload=alert(1)>{{7*7}}{% debug %}\r\n", "onload"),
    Hostile("html comment", b"<!--</title></textarea></style>]]>\r\n", "textarea"),
    Hostile("csv formula", b"=cmd|' /C calc'!A0\r\n", "calc"),
    Hostile("csv formulas", b"+1+1\r\n-1+1\r\n@SUM(A1)\r\n\t=1+1\r\n", "SUM"),
    Hostile("mail header", b"subject\r\nBcc: everyone@example.com\r\n\r\n.\r\n", "everyone"),
    Hostile("markdown", b"[x](javascript:alert(1)) ![y](http://example.com/z)\r\n", "javascript"),
    Hostile("wrong utf-8", b"\xff\xfe\xc3\x28\xed\xa0\x80\xf4\x90\x80\x80 wrong\r\n", "wrong"),
    Hostile("overlong", b"\xc0\xaf\xe0\x80\xaf overlong\r\n", "overlong"),
    Hostile("c1 controls", b"\xc2\x9b31mred\xc2\x9d0;title\xc2\x9cback\xc2\x90dcs\xc2\x9c\r\n", "back"),
    Hostile(
        "bidi overrides", "safe\u202ecod.exe\u202c \u2066a\u2069 \u200e\u200f after\r\n".encode(), "after"
    ),
    Hostile("zero width", "r\u200bm\u200d -\ufeffrf\u2060\r\n".encode(), "rm"),
    Hostile("separators", "one\u2028two\u2029three\x85four\r\n".encode(), "one"),
    Hostile("dcs", b"\x1bP1$r0m\x1b\\\x1bP+q544e\x1b\\after dcs\r\n", "after dcs"),
    Hostile("decrqss", b'\x1bP$q"p\x1b\\\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1bZ asked\r\n', "asked"),
    Hostile("sixel", b"\x1bPq#0;2;0;0;0" + b"~" * 50_000 + b"\x1b\\after sixel\r\n", "after sixel"),
    Hostile("nul bytes", b"nul\x00\x00\x00nul" + b"\x00" * 10_000 + b"\r\n", "nul"),
    Hostile("combining", b"e" + "\u0301".encode() * 100_000 + b" piled\r\n", "piled"),
    Hostile("wide and joined", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \uff21\u3000x\r\n".encode(), "x"),
    Hostile("10 MB sequence", b"\x1b[" + b"1;" * (5 * _MB) + b"m after numbers\r\n", "after numbers"),
    Hostile("10 MB title", b"\x1b]0;" + b"A" * (10 * _MB) + b"\x07after title\r\n"),
    Hostile("endless string", b"\x1bP" + b"B" * (2 * _MB) + b"\r\n"),
    Hostile("10 MB line", b"C" * (10 * _MB) + b"\r\nafter line\r\n", "after line"),
    Hostile(
        "huge numbers",
        b"\x1b[999999999999999999999999L\x1b[99999999@\x1b[99999b\x1b[99999999;99999999Hfar\r\n",
    ),
    Hostile("many insertions", b"\x1b[H" + b"\x1b[9999L\x1b[9999P\x1b[9999M" * 5_000 + b"\r\n"),
    Hostile("many saves", b"\x1b7" * 100_000 + b"\x1b8" * 10 + b"\r\nsaved\r\n", "saved"),
    Hostile(
        "margins", b"\x1b[5;2r\x1b[2;2r\x1b[999;1000r\x1b[?6h\x1b[d\x1b[?6l\x1b[r\r\nmargins\r\n", "margins"
    ),
    Hostile("resets", b"\x1bc" * 5_000 + b"reset\r\n", "reset"),
    Hostile("switches", b"\x1b[?1049h\x1b[?47h\x1b[?1049l\x1b[?1049l" * 2_000 + b"switched\r\n", "switched"),
    Hostile("tab stops", b"\x1b[3g" + b"\x1bH\x1b[C" * 2_000 + b"\t" * 20_000 + b"\r\n"),
    Hostile("forged marks", b"\x1b]133;A\x07\x1b]133;B\x07rm -rf /\x1b]133;C\x07\x1b]133;D;0\x07\r\n", "rm"),
    Hostile("forged prompt", b"root@hist-01:~# rm -rf /\r\n", "rm"),
    Hostile(
        "asciicast in asciicast",
        b'[1.0,"o","x"]\r\n{"version":2,"width":100000,"height":100000}\r\n',
        "version",
    ),
)
