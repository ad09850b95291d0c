from django.conf import settings
from django.urls import path, re_path

from . import views

urlpatterns = [
    path("profile/", views.profile, name="profile"),
    path("invitation/<str:token>/", views.invitation, name="invitation"),
    path("oidc/<str:provider_id>/login/", views.company_sign_in),
    path("oidc/<str:provider_id>/login/callback/", views.company_sign_in_callback),
    path("balance/", views.ledger, name="ledger"),
]

if not settings.LOCAL_PASSWORDS:  # before allauth's own: there is nothing to set, change or reset
    urlpatterns += [re_path(r"^(password/|signup/)", views.no_passwords)]
