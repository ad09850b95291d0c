from django.urls import path

from . import views

urlpatterns = [
    path("profile/", views.profile, name="profile"),
    path("balance/", views.ledger, name="ledger"),
]
