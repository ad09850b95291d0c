"""Where everything stands; PORTAL_SURFACE says which of it this process serves."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from accounts.urls import urlpatterns as account_urls

from . import health
from .views import home

handler400 = "pickup_portal.views.bad_request"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("accounts/", include(account_urls)),
    path("accounts/", include("allauth.urls")),
    *(path(name, view, name=name) for name, view in health.PROBES.items()),  # answered before: ProbesMiddleware
]

if settings.PORTAL_SURFACE in ("staff", "all"):
    urlpatterns += [
        path("staff/", include("orders.staff_urls")),
        path("staff/admin/", admin.site.urls),
        path("staff/", include("cards.urls")),
    ]
if settings.PORTAL_SURFACE in ("members", "all"):
    urlpatterns += [path("", include("orders.urls"))]
