"""The tasks that run one order each: to train, to chat, and to merge."""

import logging
from collections.abc import Callable

from celery import Celery
from pydantic import ValidationError

from tunescope import wire
from tunescope.wire import AttemptOrder, ChatOrder, MergeOrder, Order
from worker.machine import Machine

log = logging.getLogger(__name__)


def register(app: Celery, machine: Machine) -> None:
    """Give ``app`` the tasks ``wire.RUN``, ``wire.CHAT`` and ``wire.MERGE``."""

    def runner(kind: type[AttemptOrder]) -> Callable[[dict[str, object]], None]:
        def run(order: dict[str, object]) -> None:
            try:
                parsed = kind.model_validate(order)
            except ValidationError as error:
                log.error("an order could not be read; is this worker older than the server? %s", error)
                return
            machine.run(parsed)

        return run

    for name, kind in ((wire.RUN, Order), (wire.CHAT, ChatOrder), (wire.MERGE, MergeOrder)):
        app.task(name=name, acks_late=False, max_retries=0)(runner(kind))  # pyright: ignore[reportUnknownMemberType]
