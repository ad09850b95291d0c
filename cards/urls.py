"""The staff backend of cards, mounted at /staff/."""

from django.urls import path

from .views import batches, create, download, switch, usage

app_name = "staff"

urlpatterns = [
    path("", batches.home, name="home"),
    path("cards/", batches.batch_list, name="batch-list"),
    path("cards/usage/", usage.usage_log, name="usage-log"),
    path("cards/add/", create.batch_add, name="batch-add"),
    path("cards/add/<str:product_type>/", create.batch_add_type, name="batch-add-type"),
    path("cards/add/<str:product_type>/quote/", create.batch_quote, name="batch-quote"),
    path("cards/<int:pk>/", batches.batch_detail, name="batch-detail"),
    path("cards/<int:pk>/progress/", batches.batch_progress, name="batch-progress"),
    path("cards/<int:pk>/download/", download.batch_download, name="batch-download"),
    path("cards/<int:pk>/disable/", switch.batch_disable, name="batch-disable"),
    path("cards/<int:pk>/enable/", switch.batch_enable, name="batch-enable"),
    path("cards/<int:pk>/<int:serial>/disable/", switch.card_disable, name="card-disable"),
    path("cards/<int:pk>/<int:serial>/enable/", switch.card_enable, name="card-enable"),
]
