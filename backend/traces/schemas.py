"""Traces as they cross the wire."""

from typing import Literal

from pydantic import BaseModel, Field

from backend.traces.tables import TraceRow
from tunescope.memory.trace import Trace
from tunescope.memory.verified import DIFFERS_PERCENT, difference_percent
from tunescope.sentences import Sentence

TraceState = Literal["pending", "ready", "failed"]


class Comparison(BaseModel):
    """The closed form's allocated bytes beside the trace's."""

    formula_bytes: int
    trace_bytes: int
    difference_percent: float = Field(description="Positive where the formula is higher.")
    differs: bool = Field(description=f"They are more than {DIFFERS_PERCENT:g} % apart.")


class TraceStatus(BaseModel):
    """How far a trace is. ``key`` is None while none could be asked for."""

    key: str | None
    state: TraceState
    reason: str | None = Field(description="Why it is still pending, or why there is none.")
    reason_sentence: Sentence | None = None
    trace: Trace | None = None
    comparison: Comparison | None = None


def comparison_of(formula_bytes: int | None, trace: Trace) -> Comparison | None:
    if formula_bytes is None:
        return None
    percent = difference_percent(formula_bytes, trace.peak_bytes)
    return Comparison(
        formula_bytes=formula_bytes,
        trace_bytes=trace.peak_bytes,
        difference_percent=percent,
        differs=abs(percent) > DIFFERS_PERCENT,
    )


def status_of(row: TraceRow) -> TraceStatus:
    status = TraceStatus.model_validate(
        {"key": row.key, "state": row.state, "reason": row.reason, "reason_sentence": row.reason_sentence or None}
    )
    if row.state == "ready":
        status.trace = Trace.model_validate(row.trace)
        status.comparison = comparison_of(row.formula_bytes, status.trace)
    return status
