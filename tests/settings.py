"""The product's own settings on a throwaway installation: see `tests.support.installation`."""

from __future__ import annotations

from tests.support import installation

installation.set_up()

from breakglass import settings as real  # noqa: E402  - reads the environment that was just set up

globals().update({name: getattr(real, name) for name in dir(real) if name.isupper()})

# Argon2 is slow on purpose; pages are tested without collecting static files first.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests may lose their database with the machine: speed before durability, as tests.support.postgresql has it.
if "init_command" in real.DATABASES["default"]["OPTIONS"]:
    command = real.DATABASES["default"]["OPTIONS"]["init_command"]
    real.DATABASES["default"]["OPTIONS"]["init_command"] = command.replace("=FULL", "=OFF")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
