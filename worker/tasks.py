"""The task that runs one order."""

import logging

from celery import Celery
from pydantic import ValidationError

from tunescope import wire
from tunescope.wire import Order
from worker.machine import Machine

log = logging.getLogger(__name__)


def register(app: Celery, machine: Machine) -> None:
    """Give ``app`` the task ``wire.RUN``."""

    def run(order: dict[str, object]) -> None:
        try:
            parsed = Order.model_validate(order)
        except ValidationError as error:
            log.error("an order could not be read; is this worker older than the server? %s", error)
            return
        machine.run(parsed)

    app.task(name=wire.RUN, acks_late=False, max_retries=0)(run)  # pyright: ignore[reportUnknownMemberType]
