from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "pickup_portal"
    verbose_name = "Pickup-card portal"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the system checks)
