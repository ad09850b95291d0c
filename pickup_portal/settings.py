"""Settings of the portal, read from the environment by django-environ; `.env.example` lists every name.

With an empty environment the portal runs on its embedded default (see `embedded.py`). `PORTAL_ENV=production`
refuses that default through the system checks.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from . import embedded

django_stubs_ext.monkeypatch()  # forms and admin classes may name their model in brackets

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(str(BASE_DIR / ".env"))

PORTAL_ENV = env.str("PORTAL_ENV", "development")  # development | production
PRODUCTION = PORTAL_ENV == "production"
DEBUG = env.bool("DEBUG", False)
DATA_DIR = Path(env.str("PORTAL_DATA_DIR", str(BASE_DIR / "var"))).resolve()
# Which pages this process serves: members | staff | all. A process for members opens no code and seals no trail.
PORTAL_SURFACE = env.str("PORTAL_SURFACE", "all")
KEYS_OF_STAFF = ("CARD_MASTER_KEYS", "AUDIT_KEYS")
_KEY_NAMES = ("SECRET_KEY", "CARD_INDEX_KEY", "ACCESS_KEYS", *(() if PORTAL_SURFACE == "members" else KEYS_OF_STAFF))
if PRODUCTION:
    _keys: dict[str, str] = {}
elif all(env.str(name, "") for name in _KEY_NAMES):
    _keys = {}
else:
    _keys = {name: key for name, key in embedded.load_or_create_keys(DATA_DIR).items() if name in _KEY_NAMES}

SECRET_KEY = env.str("SECRET_KEY", _keys.get("SECRET_KEY", "missing"))
# "id:base64key id:base64key"; the first one wraps new batches, the others only unwrap.
CARD_MASTER_KEYS = env.str("CARD_MASTER_KEYS", _keys.get("CARD_MASTER_KEYS", ""))
CARD_INDEX_KEY = env.str("CARD_INDEX_KEY", _keys.get("CARD_INDEX_KEY", ""))
ACCESS_KEYS = env.str("ACCESS_KEYS", _keys.get("ACCESS_KEYS", ""))
AUDIT_KEYS = env.str("AUDIT_KEYS", _keys.get("AUDIT_KEYS", ""))

ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]", "testserver"]
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SITE_URL = env.str("SITE_URL", "http://127.0.0.1:8000").rstrip("/")
SITE_NAME = env.str("SITE_NAME", "")
SUPPORT_CONTACT = env.str("SUPPORT_CONTACT", "").strip()  # an e-mail address, a telephone number or a link
# How many reverse proxies stand before the portal: the client's address is read that many steps from the right of
# X-Forwarded-For; 0 trusts no header.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0)
# Who may read /metrics: the bearer of this token; empty means callers on this machine only.
METRICS_TOKEN = env.str("METRICS_TOKEN", "")

INSTALLED_APPS = [
    "pickup_portal.apps.PortalConfig",
    "accounts",
    "cards",
    "orders",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "bootstrap",
    "django_htmx",
    "django.forms",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "pickup_portal.health.ProbesMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.PreferencesMiddleware",
    "accounts.middleware.PrivateMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.SecondFactorMiddleware",
]

ROOT_URLCONF = "pickup_portal.urls"
WSGI_APPLICATION = "pickup_portal.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "pickup_portal.context.portal",
            ],
            "builtins": ["pickup_portal.templatetags.portal"],
        },
    },
]
FORM_RENDERER = "pickup_portal.forms.PortalFormRenderer"

# --- Data -------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db_url("DATABASE_URL", f"sqlite:///{DATA_DIR / 'portal.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE: a writer waits for the lock at BEGIN instead of failing with "database is locked" half way.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", 60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    _options = DATABASES["default"].setdefault("OPTIONS", {})
    # A server that went away without a word is missed in seconds, not in the system's two hours.
    for _name, _value in {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
    }.items():
        _options.setdefault(_name, _value)
    # A process that froze inside a transaction holds its locks until it wakes, unless the server ends its session.
    if idle_seconds := env.int("IDLE_IN_TRANSACTION_SECONDS", 30):
        _options.setdefault("options", f"-c idle_in_transaction_session_timeout={idle_seconds}s")

# The cache holds the limits of signing in, used one-time codes and the worker's sign of life. In the database by
# default, so that the pages need no broker. Django's table throws rows out beyond 300, and a guesser could fill it to
# be forgotten: it is made large enough never to, and `housekeeping` empties it of what expired.
CACHES: dict[str, Any] = {"default": env.cache_url("CACHE_URL", "dbcache://portal_cache")}
if CACHES["default"]["BACKEND"].endswith(".DatabaseCache"):
    CACHES["default"]["OPTIONS"] = {"MAX_ENTRIES": 1_000_000, "CULL_FREQUENCY": 20} | CACHES["default"].get(
        "OPTIONS", {}
    )
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", 14 * 24 * 3600)

# --- Celery: the wake-up call; the rows are the queue -----------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", f"redis+socket://{embedded.broker_socket(DATA_DIR)}?virtual_host=0")
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_TIME_LIMIT = env.int("TASK_TIME_LIMIT_SECONDS", 120)
CELERY_TASK_SOFT_TIME_LIMIT = CELERY_TASK_TIME_LIMIT * 5 // 6
CELERY_VISIBILITY_TIMEOUT = 5 * CELERY_TASK_TIME_LIMIT  # nobody else gets a message while its task may run
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT,
    "socket_timeout": 1.5,  # above the 1 s of kombu's BRPOP
    "socket_connect_timeout": 1.5,
    "unacked_restore_throttle": 1,
    # A publisher gives up at once: the sweep makes good what it could not say.
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = env.int("CELERY_WORKER_CONCURRENCY", 4)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "portal"
# Behind all else at the broker (0 comes first): a dozen large batches must not keep orders, sweeps and the heartbeat
# waiting for their turns.
CELERY_TASK_ROUTES = {"cards.tasks.generate_batch": {"priority": 9}}
CELERY_TIMEZONE = "UTC"

# --- Cards ------------------------------------------------------------------------------------------------------
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]  # codes never touch the disk
BATCH_MAX_QUANTITY = env.int("BATCH_MAX_QUANTITY", 1_000_000)
# The two-person rule: above this value (in CURRENCY) or count a batch waits for another person's approval; 0: off.
BATCH_APPROVAL_VALUE = Decimal(env.str("BATCH_APPROVAL_VALUE", "0"))
BATCH_APPROVAL_QUANTITY = env.int("BATCH_APPROVAL_QUANTITY", 0)
GENERATION_SLICE = timedelta(seconds=env.int("GENERATION_SLICE_SECONDS", 20))  # one task's turn, then it requeues
GENERATION_STALLED_AFTER = timedelta(seconds=env.int("GENERATION_STALLED_SECONDS", 5))
# The font that print sheets embed: a file, or `file.ttc#2` for a face of a collection. Empty: Noto Sans SC.
PRINT_FONT = env.str("PRINT_FONT", "")
CURRENCY = env.str("CURRENCY", "CNY")

# --- Orders -----------------------------------------------------------------------------------------------------
# Like DATABASES: a key per control plane. A line names the key it uses. JSON in PROVISIONERS, or a file's path in
# PROVISIONERS_FILE.
_default_provisioners = {"simulator": {"BACKEND": "orders.provisioning.simulator.SimulatorProvisioner", "OPTIONS": {}}}
PROVISIONERS: dict[str, dict[str, Any]] = env.json("PROVISIONERS", default={})
if not PROVISIONERS and env.str("PROVISIONERS_FILE", ""):
    import json

    PROVISIONERS = json.loads(Path(env.str("PROVISIONERS_FILE")).read_text())
PROVISIONERS = PROVISIONERS or _default_provisioners
SIMULATOR_LEDGER = env.str("SIMULATOR_LEDGER", str(DATA_DIR / "simulator.sqlite3"))
# Renewed while the worker lives (orders/lease.py). What is not renewed is another's once its task was surely killed.
ORDER_LEASE = timedelta(seconds=env.int("ORDER_LEASE_SECONDS", 30))
TASK_LEASE = timedelta(seconds=CELERY_TASK_TIME_LIMIT + 30)
ORDER_MAX_ATTEMPTS = env.int("ORDER_MAX_ATTEMPTS", 12)
ORDER_BACKOFF_BASE = timedelta(seconds=env.int("ORDER_BACKOFF_SECONDS", 5))
ORDER_BACKOFF_CAP = timedelta(seconds=env.int("ORDER_BACKOFF_CAP_SECONDS", 600))
# How long an order may take before a person looks at it, per product type.
ORDER_DEADLINE = {
    "cloud_server": timedelta(minutes=env.int("DEADLINE_CLOUD_SERVER_MINUTES", 30)),
    "virtual_host": timedelta(minutes=env.int("DEADLINE_VIRTUAL_HOST_MINUTES", 30)),
    "bare_metal": timedelta(minutes=env.int("DEADLINE_BARE_METAL_MINUTES", 240)),
}
# How long after its end a service is suspended, and terminated, which deletes its data; 0 days: never.
SERVICE_SUSPEND_AFTER = {
    "cloud_server": timedelta(hours=env.int("SUSPEND_CLOUD_SERVER_HOURS", 0)),
    "virtual_host": timedelta(hours=env.int("SUSPEND_VIRTUAL_HOST_HOURS", 0)),
    "bare_metal": timedelta(hours=env.int("SUSPEND_BARE_METAL_HOURS", 0)),
}
SERVICE_TERMINATE_AFTER = {
    "cloud_server": timedelta(days=env.int("TERMINATE_CLOUD_SERVER_DAYS", 0)),
    "virtual_host": timedelta(days=env.int("TERMINATE_VIRTUAL_HOST_DAYS", 0)),
    "bare_metal": timedelta(days=env.int("TERMINATE_BARE_METAL_DAYS", 0)),
}
# E-mails about orders: reminders so many days before a service ends, and whom to tell when one needs a person.
REMIND_DAYS = env.list("REMIND_DAYS", cast=int, default=[30, 7, 1])
ORDER_ALERT_EMAILS = env.list("ORDER_ALERT_EMAILS", default=[])
SERVICE_CHECK_INTERVAL = timedelta(minutes=env.int("SERVICE_CHECK_MINUTES", 360))  # how often a provider is asked
SWEEP_INTERVAL = timedelta(seconds=env.int("SWEEP_SECONDS", 2))
SWEEP_LIMIT = env.int("SWEEP_LIMIT", 20)  # most orders of one provisioner published by one sweep
# How many calls this machine makes to one provisioner at once, so that one that hangs leaves processes to the others;
# and how long whoever holds such a place goes on with other orders of the same provisioner.
PROVISIONER_PLACES = env.int("PROVISIONER_PLACES", max(1, CELERY_WORKER_CONCURRENCY // 2))
PLACES_DIR = DATA_DIR / "places"
DRAIN_TIME = timedelta(seconds=env.int("DRAIN_SECONDS", 10))
# How long an order that was given up is still looked up at its provider, for what a late worker may have made.
ORDER_CLEAN_UP = timedelta(hours=env.int("ORDER_CLEAN_UP_HOURS", 48))
# An order that was called is called again when nothing came of it.
SWEEP_RECALL = timedelta(seconds=env.int("SWEEP_RECALL_SECONDS", 15))
WAKE_GRACE = timedelta(seconds=3)  # what the direct call gets before the sweep calls too
# Virtual hosts without a domain of the member's own live below this one.
HOSTING_DOMAIN = env.str("HOSTING_DOMAIN", "hosted.example")
# What no member's site answers under and no server is called, nor anything below it; as for the portal's own hosts.
RESERVED_DOMAINS = env.list("RESERVED_DOMAINS", default=[])

# --- Accounts ---------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# False: members and staff sign in through the company's own system only (OIDC_*), passwords here open nothing.
LOCAL_PASSWORDS = env.bool("LOCAL_PASSWORDS", True)
AUTHENTICATION_BACKENDS = (
    ["django.contrib.auth.backends.ModelBackend", "allauth.account.auth_backends.AuthenticationBackend"]
    if LOCAL_PASSWORDS
    else ["accounts.backends.NoPasswords"]
)
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
SIGN_UP = env.str("SIGN_UP", "open")  # open | invitation | closed
SIGN_UPS_A_DAY = env.int("SIGN_UPS_A_DAY", 500)  # new accounts from one block of addresses (/24, /48)
INVITATION_LIFETIME = timedelta(days=env.int("INVITATION_DAYS", 14))
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.LoginForm",
    "signup": "accounts.forms.SignupForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.ResetPasswordKeyForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_NOTIFICATIONS = True  # whoever changes how one signs in does not do so unseen
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", "optional")
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # for another e-mail address: with it the password can be reset
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_GET = False
# required | optional: whether staff must have a second factor before they see any page under /staff/.
STAFF_SECOND_FACTOR = env.str("STAFF_SECOND_FACTOR", "required" if PRODUCTION else "optional")
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_FORMS = {
    "add_webauthn": "accounts.passkey_forms.AddPasskeyForm",
    "authenticate_webauthn": "accounts.passkey_forms.SecondFactorPasskeyForm",
    "login_webauthn": "accounts.passkey_forms.LoginPasskeyForm",
    "reauthenticate_webauthn": "accounts.passkey_forms.ProofPasskeyForm",
}
MFA_TOTP_ISSUER = env.str("MFA_TOTP_ISSUER", "Pickup cards")
# Sign-in through the hosting company's own system by OpenID Connect, when OIDC_SERVER_URL names it.
OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", "").rstrip("/")
OIDC_NAME = env.str("OIDC_NAME", "")
OIDC_MEMBER_ID_CLAIM = env.str("OIDC_MEMBER_ID_CLAIM", "sub")  # one that a member cannot change himself
OIDC_PROVIDER_ID = "company"  # in the addresses, /accounts/oidc/company/login/callback/ among them
SOCIALACCOUNT_ADAPTER = "accounts.adapter.SocialAdapter"
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"  # only verified addresses are taken
SOCIALACCOUNT_EMAIL_REQUIRED = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 8
if OIDC_SERVER_URL:
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": OIDC_PROVIDER_ID,
                "name": OIDC_NAME or "OpenID Connect",
                "client_id": env.str("OIDC_CLIENT_ID", ""),
                "secret": env.str("OIDC_CLIENT_SECRET", ""),
                "settings": {
                    "server_url": OIDC_SERVER_URL,
                    "verified_email": env.bool("OIDC_EMAILS_ARE_VERIFIED", False),
                },
            }
        ],
    }
EMAIL_CONFIG = env.email_url("EMAIL_URL", "consolemail://" if PRODUCTION else f"filemail:///{DATA_DIR / 'mail'}")
vars().update(EMAIL_CONFIG)
EMAIL_TIMEOUT = 10  # seconds; a mail server that hangs must not hold a worker
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "pickup cards <cards@localhost>")
# Wrong codes: a person's round of tries, then a wait that doubles with every round; two quiet days and it is forgotten.
# While his address block or the whole portal has had too many in a window, rounds are short (accounts/throttle.py).
THROTTLE_WINDOW = timedelta(minutes=env.int("THROTTLE_WINDOW_MINUTES", 10))
THROTTLE_MEMBER = env.int("THROTTLE_MEMBER", 10)
THROTTLE_ADDRESS = env.int("THROTTLE_ADDRESS", 50)
THROTTLE_GLOBAL = env.int("THROTTLE_GLOBAL", 5000)
# The refusal of a code that could be guessed comes after this time, however long finding out took; and how many threads
# of a web process may wait for it at once (gunicorn_conf.py gives it four).
PLAIN_REFUSAL = timedelta(milliseconds=env.int("PLAIN_REFUSAL_MS", 200))
PLAIN_REFUSALS_AT_ONCE = env.int("PLAIN_REFUSALS_AT_ONCE", 2)
THROTTLE_CROWDED = env.int("THROTTLE_CROWDED", 2)
THROTTLE_WAIT = timedelta(seconds=env.int("THROTTLE_WAIT_SECONDS", 60))
THROTTLE_LONGEST_WAIT = timedelta(hours=env.int("THROTTLE_LONGEST_WAIT_HOURS", 24))
THROTTLE_FORGET = max(timedelta(hours=48), 2 * THROTTLE_LONGEST_WAIT)  # or waiting would wipe the slate

# --- Language and time ------------------------------------------------------------------------------------------
LANGUAGE_CODE = env.str("LANGUAGE_CODE", "en")
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", "Asia/Shanghai")

# --- Static files -----------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", str(DATA_DIR / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- Security ---------------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # The button that leads to the company's sign-in is a form, and browsers hold its redirects to this too.
        "form-action": [SELF, "{0.scheme}://{0.netloc}".format(urlsplit(OIDC_SERVER_URL))]
        if OIDC_SERVER_URL
        else [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
if PRODUCTION:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # probes come from inside, in plain HTTP
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = True
    if TRUSTED_PROXIES:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s", "datefmt": "%Y-%m-%d %H:%M:%S %z"}
    },
    "filters": {"outage": {"()": "pickup_portal.logs.OutageInALine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outage"]}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "fontTools": {"level": "WARNING"},  # else a line for every table of the font of every print sheet
        "fpdf": {"level": "WARNING"},
    },
}

PORTAL_TITLE = _("Pickup card portal")
