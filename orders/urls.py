from __future__ import annotations

from django.urls import path

from . import views

app_name = "orders"

urlpatterns = [
    path("cards/", views.cards, name="cards"),
    path("cards/redeem/", views.redeem, name="redeem"),
    path("orders/", views.order_list, name="list"),
    path("orders/<slug:number>/", views.order_detail, name="detail"),
    path("orders/<slug:number>/status/", views.order_status, name="status"),
    path("orders/<slug:number>/access/", views.order_access, name="access"),
]
