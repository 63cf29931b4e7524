"""What a worker tells about one attempt of a job: a union on ``kind``, keyed by (job, attempt, sequence).

Sequences start at 1 and have no holes within an attempt. Readers ignore unknown fields, so that old rows stay readable.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tunescope.memory.trace import Phase
from tunescope.sentences import Sentence
from tunescope.states import FailureReason, JobState

Told = TypeVar("Told")
Untold = Annotated[Told | None, Field(exclude_if=lambda value: value is None)]
"""Left out of the JSON where it is None, as in nearly all of the figures that a step tells."""

OF_GPU = re.compile(r"gpu(\d+)\.(.+)")
"""The source of a figure of one of a job's GPUs after the first: its number among them, from 2 on, and who measured it there."""


def source_on_gpu(gpu: int, source: str) -> str:
    """The source of what ``source`` measured on one of a job's GPUs after the first."""
    return f"gpu{gpu}.{source}"


@lru_cache(1024)
def gpu_of_source(source: str) -> tuple[int, str]:
    """Which of a job's GPUs (from 1) the figures of ``source`` are of, and who measured them there."""
    found = OF_GPU.fullmatch(source)
    return (int(found[1]), found[2]) if found else (1, source)


class MemoryFigure(BaseModel):
    """One memory figure in bytes, or why it is unknown."""

    model_config = ConfigDict(extra="ignore")
    source: str = Field(
        description="Who measured it, e.g. 'nvml.device', 'torch.allocated', 'host.rss'; of a second GPU 'gpu2.nvml.process'."
    )
    bytes: int | None = None
    peak_bytes: int | None = Field(default=None, description="Highest value seen within the step.")
    unknown_because: Untold[str] = None
    unknown_sentence: Untold[Sentence] = None


class EventBase(BaseModel):
    model_config = ConfigDict(extra="ignore")
    version: Literal[1] = 1
    job: str
    attempt: int = Field(ge=1)
    sequence: int = Field(ge=1)
    at: float = Field(description="Unix time in seconds on the worker's clock.")


class FailureMemory(BaseModel):
    """What was allocated when an attempt died for lack of memory, as far as it was known. Bytes."""

    model_config = ConfigDict(extra="ignore")
    device: str = Field(description="Name of the GPU, or 'CPU' where main memory was full.")
    device_bytes: int | None = None
    step: int | None = Field(default=None, description="The step at hand; None before the first.")
    phase: Phase | None = None
    longest_tokens: int | None = Field(default=None, description="Length of the longest row in that step so far.")
    categories: dict[str, int] = Field(default_factory=dict)
    categories_of_step: int | None = Field(
        default=None, description="The measured step that categories are of; None: they are of the moment itself."
    )
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    other_processes_bytes: int | None = None


class Failure(BaseModel):
    model_config = ConfigDict(extra="ignore")
    reason: FailureReason
    detail: str = Field(description="What happened, in words for a person.")
    advice: str = Field(default="", description="What to do next.")
    memory: FailureMemory | None = None
    detail_sentence: Sentence | None = Field(
        default=None, description="What happened, without what ``memory`` and ``last_lines`` tell."
    )
    advice_sentence: Sentence | None = None
    last_lines: list[str] = Field(
        default_factory=list, description="The end of the log of a trainer that ended without a last word."
    )

    @classmethod
    def of(
        cls,
        reason: FailureReason,
        detail: Sentence,
        advice: Sentence,
        memory: FailureMemory | None = None,
        *,
        more: str = "",
        last_lines: Sequence[str] = (),
    ) -> "Failure":
        """``more`` follows the detail in English: what ``memory`` and ``last_lines`` tell."""
        return cls(
            reason=reason,
            detail=detail.text + more,
            advice=advice.text,
            memory=memory,
            detail_sentence=detail,
            advice_sentence=advice,
            last_lines=list(last_lines),
        )

    def within(self, told: Callable[[Sentence | str], Sentence]) -> "Failure":
        """The same failure with more of where it was: ``told`` makes a sentence around the one that says what happened."""
        return self.model_copy(
            update={
                "detail": told(self.detail).text,
                "detail_sentence": told(self.detail_sentence or self.detail),
            }
        )


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
    resumed_step: int = Field(
        default=0, ge=0, description="The step of the checkpoint that the attempt goes on from; 0 where it begins anew."
    )
    notes: list[str] = Field(
        default_factory=list,
        description="What the run does otherwise than asked, or leaves out, in words for a person.",
    )
    note_sentences: list[Sentence] = Field(
        default_factory=list[Sentence], description="In the order of ``notes``; none from a worker of an older release."
    )


class PhaseMemory(BaseModel):
    """Memory of one part of a step; with gradient accumulation, over all its micro batches."""

    model_config = ConfigDict(extra="ignore")
    phase: Phase
    seconds: float
    source: str = Field(description="Who measured it, as in MemoryFigure.")
    peak_bytes: int | None = None
    mean_bytes: int | None = None
    unknown_because: Untold[str] = None
    unknown_sentence: Untold[Sentence] = None


class AllocatorFigures(BaseModel):
    """Counters of torch's caching allocator since the trainer began, and its split at the end of the step, in bytes."""

    model_config = ConfigDict(extra="ignore")
    retries: int
    out_of_memory: int
    inactive_split_bytes: int
    reserved_bytes: int
    allocated_bytes: int


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
    phases: list[PhaseMemory] = Field(default_factory=list)
    meter_seconds: float | None = Field(default=None, description="Time within the step that measuring itself took.")
    longest_tokens: int | None = Field(default=None, description="Length of the longest row in this step, of all GPUs.")
    allocator: AllocatorFigures | None = Field(default=None, description="None without CUDA.")


class LedgerEvent(EventBase):
    """The measured ledger of one step, at its highest moment. ``categories`` are those of the VRAM model.

    ``outside`` holds what no tensor accounts for, each with its source: fragmentation, context, other processes.
    """

    kind: Literal["ledger"] = "ledger"
    step: int
    source: str = Field(description="'cuda tensors' or 'cpu tensors': where the followed tensors live.")
    peak_phase: Phase
    peak_site: str = Field(
        default="", description="The moment in the VRAM model's words, e.g. forward_end, layer_backward."
    )
    categories: dict[str, int]
    total_bytes: int = Field(description="Sum of categories: live tensor bytes at the step's highest moment.")
    allocator_peak_bytes: int | None = Field(default=None, description="What torch's allocator says of the same step.")
    unfollowed_bytes: int | None = Field(
        default=None,
        description="The part of workspace that the allocator counts and no followed tensor explains: kernels' scratch, cuBLAS, larger blocks.",
    )
    sites: dict[str, int] = Field(
        default_factory=dict, description="Highest live bytes at each site of the VRAM model."
    )
    outside: list[MemoryFigure] = Field(default_factory=list)
    probe: bool = Field(default=False, description="Measured before the run proper, on the longest batch of the data.")
    dtype: str | None = Field(
        default=None, description="What the run computes in: float32 where a CPU has no 16-bit arithmetic of its own."
    )


class AnatomyPoint(BaseModel):
    model_config = ConfigDict(extra="ignore")
    seconds: float = Field(description="Since the step began.")
    phase: Phase
    bytes_by_category: dict[str, int]


class AnatomyEvent(EventBase):
    """Memory over time within one step, at most 600 points: the highest moment of each span."""

    kind: Literal["anatomy"] = "anatomy"
    step: int
    points: list[AnatomyPoint]
    probe: bool = False


class WarningEvent(EventBase):
    """Something about memory that a person should hear while it happens."""

    kind: Literal["warning"] = "warning"
    code: Literal["length_outlier", "fragmentation", "allocator_retry", "rising", "other_process", "nearly_full"]
    step: int
    message: str
    message_sentence: Sentence | None = None
    figures: dict[str, float] = Field(
        default_factory=dict, description="The figures behind the message, bytes or tokens."
    )


class EvaluationEvent(EventBase):
    kind: Literal["evaluation"] = "evaluation"
    step: int
    loss: float | None = Field(description="Mean loss over the rows kept aside; None where it is no number.")
    memory: list[PhaseMemory] = Field(default_factory=list)


class CheckpointEvent(EventBase):
    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str = Field(description="Relative to the attempt's directory.")
    memory: list[PhaseMemory] = Field(default_factory=list)


class ArtifactEvent(EventBase):
    kind: Literal["artifact"] = "artifact"
    name: str
    bytes: int
    sha256: str


class LogEvent(EventBase):
    kind: Literal["log"] = "log"
    stream: Literal["stdout", "stderr", "trainer"]
    line: str


class ChatReadyEvent(EventBase):
    """A chat's model is loaded and waits for messages."""

    kind: Literal["chat_ready"] = "chat_ready"
    device: str
    context_tokens: int = Field(description="The longest conversation: asked for, and no more than the model can.")
    parameters: int = Field(description="Of the model with what was trained.")
    adapter: bool = Field(description="Whether there is an adapter that can be switched off.")
    dtype: str = Field(description="What it computes in: float32 where a CPU has no 16-bit arithmetic of its own.")
    held: dict[str, int] = Field(
        description="Bytes of the loaded tensors by category, as in the VRAM model: what is there before a message comes."
    )
    predicted: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="The VRAM model's bytes by category for this model in ``dtype``, which may be another than the job's; "
        "empty for an architecture that it does not know.",
    )
    kv_bytes_per_token: int | None = Field(default=None, description="The same of a token's keys and values.")
    memory: list[MemoryFigure] = Field(default_factory=list[MemoryFigure])
    notes: list[Sentence] = Field(default_factory=list[Sentence])


class ChatTakenEvent(EventBase):
    """A chat has heard of a message and begins to answer it."""

    kind: Literal["chat_taken"] = "chat_taken"
    number: int = Field(ge=1)
    prompt_tokens: int | None = Field(default=None, description="Of the conversation up to it; None where it has none.")


ChatEnd = Literal["end", "length", "context", "time", "stopped", "problem"]
"""Why an answer ended: by itself, at ``max_new_tokens``, at the end of the context, out of time, by a person, by a problem."""


class ChatAnswerEvent(EventBase):
    """The next piece of an answer; the last one has ``ended``."""

    kind: Literal["chat_answer"] = "chat_answer"
    number: int = Field(ge=1, description="Of the message that is answered.")
    text: str = Field(description="What comes after the pieces before it.")
    tokens: int = Field(description="Tokens of the answer so far.")
    kv_tokens: int = Field(default=0, description="Tokens whose keys and values are held.")
    kv_bytes: int = Field(default=0, description="Bytes of those.")
    kv_taken_bytes: int = Field(default=0, description="Bytes taken for those and for the tokens that may still come.")
    ended: ChatEnd | None = None
    seconds: float | None = Field(default=None, description="At the end: how long the answer took.")
    memory: list[MemoryFigure] = Field(
        default_factory=list[MemoryFigure], description="At the end: with the highest value of the answer."
    )
    problem: Sentence | None = None


JobEvent = Annotated[
    StateEvent
    | StageEvent
    | PlanEvent
    | StepEvent
    | LedgerEvent
    | AnatomyEvent
    | WarningEvent
    | EvaluationEvent
    | CheckpointEvent
    | ArtifactEvent
    | LogEvent
    | ChatReadyEvent
    | ChatTakenEvent
    | ChatAnswerEvent,
    Field(discriminator="kind"),
]
job_event: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)
