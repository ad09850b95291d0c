from __future__ import annotations

from django.urls import path

from . import staff_views

app_name = "staff-orders"

urlpatterns = [
    path("", staff_views.order_list, name="list"),
    path("<str:number>/", staff_views.order_detail, name="detail"),
    path("<str:number>/retry/", staff_views.retry, name="retry"),
    path("<str:number>/cancel/", staff_views.cancel, name="cancel"),
]
