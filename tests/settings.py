"""The product's own settings on a throwaway installation: see `tests.support.installation`."""

from __future__ import annotations

from tests.support import installation

installation.set_up()

from breakglass import settings as real  # noqa: E402  - reads the environment that was just set up

globals().update({name: getattr(real, name) for name in dir(real) if name.isupper()})

# Argon2 is slow on purpose; pages are tested without collecting static files first.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
