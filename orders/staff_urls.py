from __future__ import annotations

from django.urls import path

from . import provisioner_views, redeem_views, staff_views

app_name = "staff-orders"

urlpatterns = [
    path("provisioners/", provisioner_views.provisioner_list, name="provisioner-list"),
    path("provisioners/<str:key>/check/", provisioner_views.provisioner_check, name="provisioner-check"),
    path("provisioners/<str:key>/orphans/", provisioner_views.provisioner_orphans, name="provisioner-orphans"),
    path("orders/", staff_views.order_list, name="list"),
    path("orders/redeem/", redeem_views.redeem_for_member, name="redeem"),
    path("orders/<slug:number>/", staff_views.order_detail, name="detail"),
    path("orders/<slug:number>/retry/", staff_views.retry, name="retry"),
    path("orders/<slug:number>/cancel/", staff_views.cancel, name="cancel"),
]
