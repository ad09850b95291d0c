from __future__ import annotations

from django.urls import path

from . import (
    provisioner_views,
    redeem_views,
    report_views,
    staff_invite,
    staff_machines,
    staff_members,
    staff_services,
    staff_views,
)

app_name = "staff-orders"

urlpatterns = [
    path("provisioners/", provisioner_views.provisioner_list, name="provisioner-list"),
    path("provisioners/<str:key>/check/", provisioner_views.provisioner_check, name="provisioner-check"),
    path("provisioners/<str:key>/orphans/", provisioner_views.provisioner_orphans, name="provisioner-orphans"),
    path("dashboard/", report_views.dashboard, name="dashboard"),
    path("leaks/", report_views.leak_report, name="leak-report"),
    path("orders/", staff_views.order_list, name="list"),
    path("orders/csv/", staff_views.order_csv, name="csv"),
    path("orders/redeem/", redeem_views.redeem_for_member, name="redeem"),
    path("orders/<slug:number>/", staff_views.order_detail, name="detail"),
    path("orders/<slug:number>/retry/", staff_views.retry, name="retry"),
    path("orders/<slug:number>/domain/", staff_views.retry_domain, name="retry-domain"),
    path("orders/<slug:number>/cancel/", staff_views.cancel, name="cancel"),
    path("orders/<slug:number>/settle/", staff_views.settle, name="settle"),
    path("services/", staff_services.service_list, name="service-list"),
    path("services/<slug:number>/", staff_services.service_detail, name="service"),
    path("services/<slug:number>/suspend/", staff_services.service_suspend, name="service-suspend"),
    path("services/<slug:number>/resume/", staff_services.service_resume, name="service-resume"),
    path("services/<slug:number>/extend/", staff_services.service_extend, name="service-extend"),
    path("services/<slug:number>/settle/", staff_services.service_settle, name="service-settle"),
    path("services/<slug:number>/terminate/", staff_services.service_terminate, name="service-terminate"),
    path("machines/", staff_machines.machine_list, name="machine-list"),
    path("machines/add/", staff_machines.machine_add, name="machine-add"),
    path("machines/<int:pk>/change/", staff_machines.machine_edit, name="machine-edit"),
    path("machines/<int:pk>/out/", staff_machines.machine_out, name="machine-out"),
    path("machines/<int:pk>/back/", staff_machines.machine_back, name="machine-back"),
    path("members/", staff_members.member_list, name="member-list"),
    path("members/invite/", staff_invite.invite, name="member-invite"),
    path("members/<int:pk>/", staff_members.member_detail, name="member"),
    path("members/<int:pk>/top-up/", staff_members.member_top_up, name="member-top-up"),
    path("members/<int:pk>/ledger/<int:entry>/correct/", staff_members.member_correct, name="member-correct"),
    path("members/<int:pk>/disable/", staff_members.member_switch, {"disable": True}, name="member-disable"),
    path("members/<int:pk>/enable/", staff_members.member_switch, {"disable": False}, name="member-enable"),
]
