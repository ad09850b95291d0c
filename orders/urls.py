from __future__ import annotations

from django.urls import path

from . import callback_views, machine_views, redeem_views, service_views, views

app_name = "orders"

urlpatterns = [
    path("cards/", views.cards, name="cards"),
    path("cards/redeem/", redeem_views.redeem, name="redeem"),
    path("orders/", views.order_list, name="list"),
    path("orders/<slug:number>/", views.order_detail, name="detail"),
    path("orders/<slug:number>/status/", views.order_status, name="status"),
    path("orders/<slug:number>/access/", views.order_access, name="access"),
    path("callbacks/<str:provider>/", callback_views.callback, name="callback"),
    path("machines/<uuid:key>/<slug:token>/seed.iso", machine_views.machine_seed, name="machine-seed"),
    path("machines/<uuid:key>/<slug:token>/booted/", machine_views.machine_booted, name="machine-booted"),
    path("services/", service_views.service_list, name="services"),
    path("services/<slug:number>/", service_views.service_detail, name="service"),
    path("services/<slug:number>/access/", service_views.service_access, name="service-access"),
    path("services/<slug:number>/domain/", service_views.service_domain, name="service-domain"),
]
