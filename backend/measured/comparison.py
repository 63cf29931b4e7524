"""Predicted beside measured, category by category; what cannot be compared says why. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field

from tunescope.events import LedgerEvent
from tunescope.memory.ledger import CATEGORIES
from tunescope.sentences import Sentence, say

MOVING = ("activations", "logits_and_loss", "workspace")
OUTSIDE = ("fragmentation", "runtime_context")
EXCHANGING = ("communication", "runtime_context")
"""Where several GPUs train, NCCL's buffers are predicted as the first, and NVML tells them as part of the second."""
OF_SMALL_TENSORS = "quantization_state"
"""A few of 4 to 1024 bytes for each layer: what the allocator rounds them up by is a sixth of all."""


class CategoryComparison(BaseModel):
    """One category. Errors are predicted minus measured, and percent of measured."""

    category: str
    predicted_bytes: int | None
    measured_bytes: int | None
    error_bytes: int | None = None
    error_percent: float | None = None
    incomparable_because: str | None = Field(default=None, description="None where the two mean the same thing.")
    incomparable_sentence: Sentence | None = None


@dataclass(frozen=True)
class Prediction:
    """An estimate's ledger, the moment that it is for, and the number type that it counts in."""

    ledger: Mapping[str, int]
    site: str
    dtype: str
    typed: frozenset[str]
    """The categories whose bytes follow that type."""


def compare(prediction: Prediction | None, measured: LedgerEvent) -> list[CategoryComparison]:
    """Every category that either side has bytes in, in the order of the VRAM model."""
    account = measured_account(measured)
    predicted = dict(prediction.ledger) if prediction else {}
    rows: list[CategoryComparison] = []
    for category in CATEGORIES:
        mine = predicted.get(category, 0) if prediction else None
        if not mine and not account.get(category, 0):
            continue
        row = CategoryComparison(category=category, predicted_bytes=mine, measured_bytes=account.get(category, 0))
        row.incomparable_because, row.incomparable_sentence = told(why_not(category, prediction, measured))
        if row.incomparable_because and row.category in OUTSIDE:
            row.measured_bytes = account.get(category)
        if row.incomparable_because is None and mine is not None and row.measured_bytes is not None:
            row.error_bytes = mine - row.measured_bytes
            row.error_percent = 100 * row.error_bytes / row.measured_bytes if row.measured_bytes else None
        rows.append(row)
    return rows


def measured_account(measured: LedgerEvent) -> dict[str, int]:
    """Tensors by category, and what lies outside them where it is known."""
    outside = {figure.source: figure.bytes for figure in measured.outside if figure.bytes is not None}
    return {**measured.categories, **{name: outside[name] for name in OUTSIDE if name in outside}}


def why_not(category: str, prediction: Prediction | None, measured: LedgerEvent) -> Sentence | str | None:
    """Why predicted and measured bytes of a category do not mean the same thing; None if they do.

    A string where a worker of an older release said it.
    """
    if prediction is None:
        return say("no_estimate")
    if category in prediction.typed and measured.dtype not in (None, prediction.dtype):
        return say("other_dtype", computed=str(measured.dtype), predicted=prediction.dtype)
    if category == "optimizer_states" and measured.step == 1:
        return say("first_step_without_states")
    if category == "gradients" and not same_moment(prediction.site, measured.peak_site):
        return say("other_moment", predicted=prediction.site, measured=measured.peak_site)
    if category in EXCHANGING and "communication" in measured.categories:
        return say("nccl_in_context")
    if category in OUTSIDE:
        figure = next((item for item in measured.outside if item.source == category), None)
        if figure is None or figure.bytes is None:
            return (figure.unknown_sentence or figure.unknown_because) if figure else say("not_measured")
    if not on_gpu(measured) and category in MOVING:
        return say("cpu_keeps_other_tensors")
    if not on_gpu(measured) and category == OF_SMALL_TENSORS:
        return say("cpu_does_not_round")
    return None


def told(why: Sentence | str | None) -> tuple[str | None, Sentence | None]:
    """In English, and for programs where that is known."""
    return (why.text, why) if isinstance(why, Sentence) else (why, None)


def same_moment(predicted: str, measured: str) -> bool:
    """The estimate tells the backward of the last, the first layer and the embedding apart; the measurement does not."""
    backward = ("layer_backward", "embedding_backward")
    return predicted == measured or (predicted.startswith(backward) and measured.startswith(backward))


def on_gpu(measured: LedgerEvent) -> bool:
    return measured.source.startswith("cuda")


def totals(rows: list[CategoryComparison]) -> tuple[int, int, float | None]:
    """(predicted, measured, error in percent) over the categories that can be compared."""
    able = [row for row in rows if row.incomparable_because is None]
    predicted = sum(row.predicted_bytes or 0 for row in able)
    measured = sum(row.measured_bytes or 0 for row in able)
    return predicted, measured, 100 * (predicted - measured) / measured if measured else None
