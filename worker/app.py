"""The Celery application of a worker. One task, one queue: this machine's. Imports no torch."""

from celery import Celery

from tunescope import wire
from tunescope.settings import WorkerSettings


def create_app(settings: WorkerSettings) -> Celery:
    """A Celery app that takes orders for ``settings.machine``.

    An order is acknowledged when it is received and never retried by Celery: a lost one is sent again by the controller,
    a doubled one is refused by its fence (see claim.py).
    """
    app = Celery("tunescope", broker=wire.broker_url(settings.redis_url), set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_default_queue=wire.queue(settings.machine),
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_keepalive": True, "health_check_interval": 10},
    )
    return app
