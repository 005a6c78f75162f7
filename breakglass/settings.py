"""Wiring only: what `breakglass.config` read, said in Django's words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from csp.constants import NONCE, NONE, SELF

from breakglass import config

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    BREAKGLASS = config.load(os.environ)
except config.ConfigError as problem:
    sys.exit(f"Breakglass can't start:\n{problem}\nSee docs/operate.md.")

DATA_DIR = BREAKGLASS.data_dir.resolve()
SECRET_KEY = BREAKGLASS.secret_key
DEBUG = BREAKGLASS.debug
ALLOWED_HOSTS = sorted(
    {BREAKGLASS.public_host, "localhost", "127.0.0.1"}
    | {h.strip() for h in BREAKGLASS.allowed_hosts.split(",") if h.strip()}
)
ROOT_URLCONF = "breakglass.urls"
ASGI_APPLICATION = "breakglass.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp_webauthn",
    "django_htmx",
    "axes",
    "csp",
    "breakglass.apps.BreakglassConfig",
    "sessions.apps.SessionsConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "breakglass.web.doorkeeper.Doorkeeper",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "breakglass" / "web" / "templates", BASE_DIR / "sessions" / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "breakglass.web.chrome.chrome",
            ],
            "builtins": ["django.templatetags.static", "breakglass.web.tags"],
        },
    },
]


# And the server notices a client that vanished, or stands still, in the middle of a transaction: what that one holds, the
# trail's head perhaps, would keep everybody waiting for as long as TCP believes in it, by default for hours.
SERVER_LETS_GO = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "idle_in_transaction_session_timeout": "15s",
        "tcp_keepalives_idle": 5,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }.items()
)


def _database() -> dict[str, Any]:
    if not BREAKGLASS.database_url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "breakglass.sqlite3",
            "OPTIONS": {
                # Read-then-write transactions of many processes: only IMMEDIATE never failed (FACTS.md).
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                # What was deleted is overwritten, whatever this SQLite was built with.
                "PRAGMA secure_delete=ON;",
            },
            # A file, not memory: tests race several connections.
            "TEST": {"NAME": DATA_DIR / "test.sqlite3"},
        }
    parts = urlsplit(BREAKGLASS.database_url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", None) or parts.hostname or "",
        "PORT": str(parts.port or ""),
        # A server that is cut off is noticed in 10 s, also by a connection that was open before, or that waits for it.
        "OPTIONS": {
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "options": SERVER_LETS_GO,
            **query,
        },
    }


DATABASES = {"default": _database()}

AUTH_USER_MODEL = "breakglass.Person"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"

# Of django-otp-webauthn the house takes the device and its table; the ceremonies are services/passkeys.py's.
OTP_WEBAUTHN_RP_ID = BREAKGLASS.public_host
OTP_WEBAUTHN_RP_NAME = "Breakglass"
OTP_WEBAUTHN_ALLOWED_ORIGINS = [BREAKGLASS.public_url]
OTP_WEBAUTHN_ALLOW_PASSWORDLESS_LOGIN = False

# Account and address together: a stranger elsewhere can't lock a responder out.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 1 / 12  # hours: five minutes
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "breakglass.web.login.locked_out"
AXES_VERBOSE = False

SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "breakglass.web.refused.csrf_failure"
CSRF_TRUSTED_ORIGINS = [BREAKGLASS.public_url]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BREAKGLASS.public_is_https
SECURE_SSL_REDIRECT = BREAKGLASS.public_is_https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if BREAKGLASS.public_is_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BREAKGLASS.public_is_https
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
if BREAKGLASS.trusted_proxies:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        # The replay's terminal is WebAssembly; nothing else is evaluated.
        "script-src": [SELF, NONCE, "'wasm-unsafe-eval'"],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("BREAKGLASS_TEST_STATIC_ROOT", BASE_DIR / "var" / "static"))
STATICFILES_DIRS = [BASE_DIR / "breakglass" / "web" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
if BREAKGLASS.object_store:
    STORAGES["recordings"] = BREAKGLASS.object_store.as_django()


def _email() -> dict[str, Any]:
    parts = urlsplit(BREAKGLASS.email_url)
    if parts.scheme == "file":
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "EMAIL_FILE_PATH": parts.path,
        }
    if parts.scheme == "smtp":
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
            "EMAIL_HOST": parts.hostname or "localhost",
            "EMAIL_PORT": parts.port or 25,
            "EMAIL_HOST_USER": unquote(parts.username or ""),
            "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
            "EMAIL_USE_TLS": parse_qs(parts.query).get("tls") == ["1"],
            "EMAIL_TIMEOUT": 10,
        }
    return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}


globals().update(_email())
DEFAULT_FROM_EMAIL = BREAKGLASS.email_from

CELERY_BROKER_URL = (
    BREAKGLASS.redis_url.replace("unix://", "redis+socket://")
    if BREAKGLASS.redis_url.startswith("unix:")
    else BREAKGLASS.redis_url
)
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = "breakglass"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Longer than the longest grant: a shorter one runs an ETA task several times (FACTS.md).
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 5 * 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "priority_steps": [0, 3, 6],
}
# After an outage the backlog is long. What ends and seals goes first (0), then what tells, then what draws and looks up.
_FIRST, _LAST = {"priority": 0}, {"priority": 6}
CELERY_TASK_ROUTES = {
    "breakglass.sweep": _FIRST,
    "breakglass.end_grant": _FIRST,
    "sessions.sweep": _FIRST,
    "sessions.seal": _FIRST,
    "sessions.render": _LAST,
    "sessions.index": _LAST,
    "sessions.store": _LAST,
    "sessions.retain": _LAST,
    "*": {"priority": 3},
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {
    "end-what-is-over": {"task": "breakglass.sweep", "schedule": 3.0, "options": {"expires": 3}},
    "seal-recordings": {"task": "sessions.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "render-recordings": {"task": "sessions.render", "schedule": 15.0, "options": {"expires": 15}},
    "index-for-searching": {"task": "sessions.index", "schedule": 10.0, "options": {"expires": 10}},
    "store-recordings": {"task": "sessions.store", "schedule": 10.0, "options": {"expires": 10}},
    "delete-old-recordings": {"task": "sessions.retain", "schedule": 3600.0, "options": {"expires": 600}},
    "send-notices": {"task": "breakglass.send_notices", "schedule": 10.0, "options": {"expires": 10}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "breakglass.management.plain.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "paramiko": {"level": "ERROR"},
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}

# The rooms of the data plane join here by name: breakglass never imports sessions.
DATA_PLANE_URLS = "sessions.web.urls"
DATA_PLANE_SOCKETS = "sessions.web.sockets.ROOMS"
DATA_PLANE_API = "sessions.api.router"
DATA_PLANE_RECORDINGS = "sessions.services.recording_check.check_all"
