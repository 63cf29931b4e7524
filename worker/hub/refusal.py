"""Why a model could not be had from its hub, in words for the job's owner."""

from tunescope.events import Failure
from tunescope.states import FailureReason


class Refusal(Exception):
    """The download cannot go on; ``failure`` says why and what to do."""

    def __init__(self, reason: FailureReason, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.failure = Failure(reason=reason, detail=detail, advice=advice)


class DownloadStopped(BaseException):
    """The job was cancelled, or its worker stops, while files were on their way. What arrived is kept.

    No Exception, as KeyboardInterrupt is none: the hubs' clients would take it for a fault of the network and try again.
    """


def not_found(hub: str, model: str) -> Refusal:
    return Refusal(
        FailureReason.INVALID_MODEL,
        f"{hub} has no model {model}, or it is private.",
        "Check model.id and model.source. A private model needs the worker's token: see docs/failures.md.",
    )


def no_revision(hub: str, model: str, revision: str) -> Refusal:
    return Refusal(
        FailureReason.INVALID_MODEL,
        f"{model} on {hub} has no revision {revision}.",
        "Set model.revision to a branch, tag or commit that exists, or to null.",
    )


def no_access(hub: str, model: str, variable: str) -> Refusal:
    return Refusal(
        FailureReason.INVALID_MODEL,
        f"{hub} does not give {model} to this worker: it is gated or private.",
        f"Accept the model's terms on {hub}, set {variable} where the worker runs, and retry.",
    )


def no_safetensors(model: str, pickled: bool) -> Refusal:
    why = "only pickled weights, which may run code when they are loaded" if pickled else "no weights"
    return Refusal(
        FailureReason.INVALID_MODEL,
        f"{model} has {why}; nothing was downloaded.",
        "Choose a model with *.safetensors files, or convert it with save_pretrained and add it to the library.",
    )


def unreachable(hub: str, model: str, why: str) -> Refusal:
    return Refusal(
        FailureReason.MODEL_UNREACHABLE,
        f"{model} could not be fetched from {hub}: {why}.",
        "Retry: what arrived is kept. If this machine has no network, add the model's directory to the library instead.",
    )


def too_large(model: str, needed: str, free: str, folder: str) -> Refusal:
    return Refusal(
        FailureReason.DISK_FULL,
        f"{model} needs {needed} in {folder}, where {free} are free.",
        "Free space there, or point HF_HOME (or MODELSCOPE_CACHE) of the worker to a larger disk, then retry.",
    )
