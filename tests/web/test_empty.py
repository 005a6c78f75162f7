"""A house in which nothing has happened yet."""

from __future__ import annotations

from breakglass import clock
from tests.support.cast import everybody
from tests.web.conftest import Enter


def test_an_empty_house_says_what_to_do_first(db: None, enter: Enter) -> None:
    everybody(clock.now())
    expected = {
        "/": b"load_playbooks",
        "/incidents/": b"All quiet",
        "/sessions/": b"No sessions yet",
        "/assets/": b"registers each",
        "/playbooks/": b"load_playbooks",
        "/profile/": b"ssh-keygen -t ed25519",
    }
    for path, words in expected.items():
        assert words in enter("rita").get(path).content, path
    assert b"Nothing is due" in enter("vera").get("/reviews/").content
