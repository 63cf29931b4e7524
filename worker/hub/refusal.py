"""Why a model could not be had from its hub, in words for the job's owner."""

from tunescope.sentences import Sentence, say
from tunescope.states import FailureReason
from worker.refusal import Refusal


class DownloadStopped(BaseException):
    """The job was cancelled, or its worker stops, while files were on their way. What arrived is kept.

    No Exception, as KeyboardInterrupt is none: the hubs' clients would take it for a fault of the network and try again.
    """


def not_found(hub: str, model: str) -> Refusal:
    return Refusal(FailureReason.INVALID_MODEL, say("hub_no_model", hub=hub, model=model), say("check_hub_model"))


def no_revision(hub: str, model: str, revision: str) -> Refusal:
    detail = say("hub_no_revision", hub=hub, model=model, revision=revision)
    return Refusal(FailureReason.INVALID_MODEL, detail, say("check_revision"))


def no_access(hub: str, model: str, variable: str) -> Refusal:
    detail = say("hub_no_access", hub=hub, model=model)
    return Refusal(FailureReason.INVALID_MODEL, detail, say("accept_terms", hub=hub, variable=variable))


def no_safetensors(model: str, pickled: bool) -> Refusal:
    detail = say("hub_only_pickles" if pickled else "hub_no_weights", model=model)
    return Refusal(FailureReason.INVALID_MODEL, detail, say("convert_for_library"))


def unreachable(hub: str, model: str, because: Sentence | str) -> Refusal:
    """``because`` is a string where the hub said it."""
    detail = say("hub_unreachable", hub=hub, model=model, because=because)
    return Refusal(FailureReason.MODEL_UNREACHABLE, detail, say("retry_download"))


def too_large(model: str, needed_bytes: int, free_bytes: int, folder: str) -> Refusal:
    detail = say("model_too_large", model=model, needed_bytes=needed_bytes, free_bytes=free_bytes, folder=folder)
    return Refusal(FailureReason.DISK_FULL, detail, say("larger_disk"))
