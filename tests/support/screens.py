"""The tests' settings for a web server of its own, whose files come from where they are written."""

from __future__ import annotations

from tests import settings as theirs

globals().update({name: getattr(theirs, name) for name in dir(theirs) if name.isupper()})

WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
