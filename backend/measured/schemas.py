"""Measured memory as it crosses the wire."""

from typing import Any

from pydantic import BaseModel, Field

from backend.measured.comparison import CategoryComparison
from tunescope.events import AnatomyPoint, MemoryFigure
from tunescope.sentences import Sentence
from tunescope.wire import TrainerRequest


class PredictedLedger(BaseModel):
    total_bytes: int
    ledger: dict[str, int]
    site: str
    tier: str


class MeasuredLedger(BaseModel):
    """One step's account at its highest moment, beside the prediction."""

    attempt: int
    step: int
    at: float
    source: str
    peak_phase: str
    peak_site: str
    categories: dict[str, int]
    total_bytes: int
    allocator_peak_bytes: int | None
    unfollowed_bytes: int | None
    outside: list[MemoryFigure]
    probe: bool
    comparison: list[CategoryComparison]
    comparable_predicted_bytes: int = Field(description="Over the categories that can be compared.")
    comparable_measured_bytes: int
    error_percent: float | None = Field(description="Of those, predicted against measured; None without an estimate.")


class Ledgers(BaseModel):
    predicted: PredictedLedger | None
    predicted_unknown_because: str | None
    probe: MeasuredLedger | None = Field(description="The probe run's account, which replaces the estimate.")
    items: list[MeasuredLedger] = Field(description="Measured steps of all attempts, oldest first.")


class Anatomy(BaseModel):
    """Memory over time within one step; ``steps`` are all that can be asked for."""

    attempt: int
    step: int
    points: list[AnatomyPoint]
    steps: list[int]


class MemoryWarning(BaseModel):
    attempt: int
    sequence: int
    at: float
    step: int
    code: str
    message: str
    message_sentence: Sentence | None = None
    figures: dict[str, float]


class MemoryWarnings(BaseModel):
    items: list[MemoryWarning]


class Asked(BaseModel):
    """The trainer was told; it answers with a ledger event, or a file, when its next step has ended."""

    action: TrainerRequest
    after_step: int


class AccuracyItem(BaseModel):
    job: str
    name: str
    at: float
    device: str
    on_gpu: bool
    step: int
    summary: dict[str, Any] = Field(description="What decides the memory: model, method, precision, batch, length …")
    predicted_bytes: int = Field(description="Over the categories that can be compared.")
    measured_bytes: int
    error_percent: float | None
    comparison: list[CategoryComparison]


class Calibration(BaseModel):
    """What measured runs on one kind of GPU say of the two terms that cannot be derived."""

    device: str
    runs: int
    context_bytes: int = Field(description="Median of what NVML counts beyond torch's allocator.")
    fragmentation_share: tuple[float, float, float] = Field(
        description="Lowest, median and highest of measured / predicted fragmentation."
    )


class Accuracy(BaseModel):
    items: list[AccuracyItem]
    next_cursor: str | None
    calibrations: list[Calibration] = Field(description="GPUs with at least five measured runs; others use defaults.")
    note: str
