import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")
application = get_wsgi_application()

from .checks import refuse_unfit_settings, refuse_wrong_keys  # noqa: E402  (reads the settings loaded above)

refuse_unfit_settings(pages=True)
refuse_wrong_keys()
