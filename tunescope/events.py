"""What a worker tells about one attempt of a job: a union on ``kind``, keyed by (job, attempt, sequence).

Sequences start at 1 and have no holes within an attempt. Readers ignore unknown fields, so that old rows stay readable.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tunescope.states import FailureReason, JobState


class MemoryFigure(BaseModel):
    """One memory figure in bytes, or why it is unknown."""

    model_config = ConfigDict(extra="ignore")
    source: str = Field(description="Who measured it, e.g. 'nvml.device', 'torch.allocated', 'host.rss'.")
    bytes: int | None = None
    peak_bytes: int | None = Field(default=None, description="Highest value seen within the step.")
    unknown_because: str | None = None


class EventBase(BaseModel):
    model_config = ConfigDict(extra="ignore")
    version: Literal[1] = 1
    job: str
    attempt: int = Field(ge=1)
    sequence: int = Field(ge=1)
    at: float = Field(description="Unix time in seconds on the worker's clock.")


class Failure(BaseModel):
    model_config = ConfigDict(extra="ignore")
    reason: FailureReason
    detail: str = Field(description="What happened, in words for a person.")
    advice: str = Field(default="", description="What to do next.")


class StateEvent(EventBase):
    kind: Literal["state"] = "state"
    state: JobState
    failure: Failure | None = None


class StageEvent(EventBase):
    """What the trainer is doing before the first step: preparing or loading the model, building the data …"""

    kind: Literal["stage"] = "stage"
    stage: str
    detail: str = ""
    done: int | None = None
    total: int | None = None


class PlanEvent(EventBase):
    """How long the run will be, told once before step 1."""

    kind: Literal["plan"] = "plan"
    total_steps: int
    train_rows: int
    trainable_parameters: int
    all_parameters: int
    device: str
    versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


class StepEvent(EventBase):
    kind: Literal["step"] = "step"
    step: int = Field(ge=1)
    total_steps: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens: int = Field(description="Tokens trained on in this step, padding excluded.")
    tokens_per_second: float
    step_seconds: float
    memory: list[MemoryFigure] = Field(default_factory=list)


class EvaluationEvent(EventBase):
    kind: Literal["evaluation"] = "evaluation"
    step: int
    loss: float


class CheckpointEvent(EventBase):
    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str = Field(description="Relative to the attempt's directory.")


class ArtifactEvent(EventBase):
    kind: Literal["artifact"] = "artifact"
    name: str
    bytes: int
    sha256: str


class LogEvent(EventBase):
    kind: Literal["log"] = "log"
    stream: Literal["stdout", "stderr", "trainer"]
    line: str


JobEvent = Annotated[
    StateEvent | StageEvent | PlanEvent | StepEvent | EvaluationEvent | CheckpointEvent | ArtifactEvent | LogEvent,
    Field(discriminator="kind"),
]
job_event: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)
