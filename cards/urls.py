"""The staff backend of cards, mounted at /staff/."""

from django.urls import path

from .views import (
    audit,
    batches,
    catalogue,
    changes,
    create,
    download,
    finding,
    lists,
    replacing,
    switch,
    usage,
)

app_name = "staff"

urlpatterns = [
    path("", batches.home, name="home"),
    path("cards/", batches.batch_list, name="batch-list"),
    path("cards/usage/", usage.usage_log, name="usage-log"),
    path("cards/find/", finding.card_find, name="card-find"),
    path("cards/disable/", lists.cards_disable, name="cards-disable"),
    path("cards/<int:pk>/disable-selection/", lists.selection_disable, name="selection-disable"),
    path("audit/", audit.audit_trail, name="audit-trail"),
    path("audit/csv/", audit.audit_csv, name="audit-csv"),
    path("audit/<int:event>/", audit.audit_event, name="audit-event"),
    path("cards/add/", create.batch_add, name="batch-add"),
    path("cards/add/<str:product_type>/", create.batch_add_type, name="batch-add-type"),
    path("cards/add/<str:product_type>/quote/", create.batch_quote, name="batch-quote"),
    path("catalogue/", catalogue.line_list, name="line-list"),
    path("catalogue/add/", catalogue.line_add, name="line-add"),
    path("catalogue/<int:pk>/", catalogue.line_detail, name="line-detail"),
    path("catalogue/<int:pk>/edit/", catalogue.line_edit, name="line-edit"),
    path("catalogue/<int:pk>/images/add/", catalogue.image_add, name="image-add"),
    path("catalogue/<int:pk>/models/add/", catalogue.server_model_add, name="server-model-add"),
    path("catalogue/images/<int:pk>/", catalogue.image_edit, name="image-edit"),
    path("catalogue/models/<int:pk>/", catalogue.server_model_edit, name="server-model-edit"),
    path("catalogue/systems/", catalogue.system_list, name="system-list"),
    path("catalogue/systems/add/", catalogue.system_add, name="system-add"),
    path("catalogue/systems/<int:pk>/", catalogue.system_edit, name="system-edit"),
    path("cards/<int:pk>/", batches.batch_detail, name="batch-detail"),
    path("cards/<int:pk>/progress/", batches.batch_progress, name="batch-progress"),
    path("cards/<int:pk>/download/", download.batch_download, name="batch-download"),
    path("cards/<int:pk>/disable/", switch.batch_switch, {"disable": True}, name="batch-disable"),
    path("cards/<int:pk>/enable/", switch.batch_switch, {"disable": False}, name="batch-enable"),
    path("cards/<int:pk>/extend/", changes.batch_extend, name="batch-extend"),
    path("cards/<int:pk>/add/", changes.batch_add_cards, name="batch-add-cards"),
    path("cards/<int:pk>/approve/", changes.batch_approve, name="batch-approve"),
    path("cards/<int:pk>/cancel/", changes.batch_cancel, name="batch-cancel"),
    path("cards/<int:pk>/<int:serial>/reveal/", download.card_reveal, name="card-reveal"),
    path("cards/<int:pk>/<int:serial>/disable/", switch.card_switch, {"disable": True}, name="card-disable"),
    path("cards/<int:pk>/<int:serial>/enable/", switch.card_switch, {"disable": False}, name="card-enable"),
    path("cards/<int:pk>/<int:serial>/replace/", replacing.card_replace, name="card-replace"),
]
