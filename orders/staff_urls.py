from __future__ import annotations

from django.urls import path

from . import staff_views

app_name = "staff-orders"

urlpatterns = [
    path("", staff_views.order_list, name="list"),
    path("<slug:number>/", staff_views.order_detail, name="detail"),
    path("<slug:number>/retry/", staff_views.retry, name="retry"),
    path("<slug:number>/cancel/", staff_views.cancel, name="cancel"),
]
