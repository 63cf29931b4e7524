"""Every name and message that crosses Redis. Backend and worker meet only here.

The row in SQL is the truth, a message is a bell: any message may be lost or doubled.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunescope.events import PlanEvent
from tunescope.memory.trace import Trace
from tunescope.sentences import Sentence
from tunescope.spec import JobSpec

RUN = "tunescope.run"
"""Celery task name; its one argument is an Order as a JSON-ready dict."""
CHAT = "tunescope.chat"
MERGE = "tunescope.merge"
"""The same for a ChatOrder and a MergeOrder. A worker of an older release has no such tasks, and so never trains instead."""
WAKE = "tunescope:wake"
"""Pub/sub channel that wakes the controller; the payload says why and is not relied on."""
EVENT_STREAMS = "tunescope:event-streams"
"""Redis set of the keys of event streams that hold entries not yet recorded."""
RECORDERS = "recorders"
"""Consumer group of the controller on each event stream."""
EVENT_FIELD = "event"
"""The one field of a stream entry: a JobEvent as JSON. The entry id is ``<attempt>-<sequence>``, so a second XADD is refused."""

TRACE_ANSWERS = "tunescope:trace-answers"
"""Redis list of TraceAnswers as JSON; the controller removes those that it has committed."""


def queue(machine: str) -> str:
    """Celery queue of one machine."""
    return f"tunescope.machine.{machine}"


def events(job: str) -> str:
    """Redis stream of a job's events, all attempts."""
    return f"tunescope:events:{job}"


def lease(job: str) -> str:
    """Redis key whose JSON value ``{"fence", "attempt", "machine"}`` says who runs the job; it expires if not renewed."""
    return f"tunescope:lease:{job}"


def fence(job: str) -> str:
    """Redis key with the highest fence claimed or refused for a job: an Order that is not above it comes too late."""
    return f"tunescope:fence:{job}"


def control(machine: str) -> str:
    """Pub/sub channel on which a machine hears Control messages."""
    return f"tunescope:control:{machine}"


def machine(name: str) -> str:
    """Redis key of a machine's MachineReport; it expires if the worker is gone."""
    return f"tunescope:machine:{name}"


def trace_requests(machine: str) -> str:
    """Redis list of TraceRequests as JSON for one machine, oldest first."""
    return f"tunescope:trace-requests:{machine}"


NO_GPU_DRIVER = "no NVIDIA driver is installed on this machine"
"""How ``gpus_unknown_because`` begins on a machine that trains on its CPU; any other reason is a fault of its GPUs."""
MACHINES = "tunescope:machine:*"
LEASE_SECONDS = 15
MACHINE_SECONDS = 10
CONTROLLER = "tunescope:controller"
"""Key that stands as long as a controller finishes its rounds."""
CONTROLLER_SECONDS = 20
"""How long it stands after one: more than a round takes on a busy machine."""
WRITABLE = "tunescope:writable"
"""Key that is written only to find out whether Redis writes."""


def broker_url(redis_url: str) -> str:
    """The same Redis as Celery writes it: a Unix socket is ``redis+socket://`` there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


class DatasetRef(BaseModel):
    """Where the worker finds the data set: a path below the shared data directory."""

    model_config = ConfigDict(extra="ignore")
    name: str
    path: str
    sha256: str
    rows: int


class ModelRef(BaseModel):
    """Where the worker finds the model: an absolute path, or a hub id, or the built-in demo model."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["path", "huggingface", "modelscope", "demo"]
    location: str
    revision: str | None = None


class AttemptOrder(BaseModel):
    """What a worker is told of any attempt, whatever is done in it. Complete: a worker needs no SQL."""

    model_config = ConfigDict(extra="ignore")
    version: Literal[1] = 1
    job: str
    attempt: int = Field(ge=1)
    fence: int = Field(ge=1)
    spec: JobSpec
    gpus: list[str] = Field(
        default_factory=list, description="UUIDs of the GPUs to use; empty on a machine without one."
    )
    model: ModelRef


class Order(AttemptOrder):
    """Train."""

    dataset: DatasetRef
    resume_from_attempt: int | None = Field(
        default=None, description="Continue from this attempt's last checkpoint, if it has one."
    )


class ChatOptions(BaseModel):
    """What is settled when a chat begins."""

    model_config = ConfigDict(extra="ignore")
    result: str = Field(description="The result's files: a path below the shared data directory.")
    context_tokens: int = Field(ge=1, description="Tokens of the longest conversation; memory is reserved for so many.")
    idle_seconds: float = Field(gt=0, description="The session ends by itself after so long without a message.")


class ChatOrder(AttemptOrder):
    """Load a job's result and answer messages. ``spec`` is how it was trained."""

    chat: ChatOptions


class MergeOptions(BaseModel):
    """What a training has left to be merged, and what is to be told of it beside the merged model."""

    model_config = ConfigDict(extra="ignore")
    result: str = Field(description="The adapter's files: a path below the shared data directory.")
    plan: PlanEvent = Field(description="Of the attempt that left it.")
    steps: int = Field(ge=0, description="Optimizer steps that were taken.")
    loss: float | None = Field(description="Training loss of the last step; null where it is not known.")


class MergeOrder(AttemptOrder):
    """Merge the adapter that a job has left into its model, without a GPU. ``spec`` is how it was trained."""

    merge: MergeOptions


def task_of(order: AttemptOrder) -> str:
    """Celery task name for an order."""
    return MERGE if isinstance(order, MergeOrder) else CHAT if isinstance(order, ChatOrder) else RUN


MOST_CHARACTERS = 20_000
"""Of a message in a chat."""
MOST_NEW_TOKENS = 4096


class ChatMessage(BaseModel):
    """A message of a chat. Numbers begin at 1 and have no holes, so that one that is lost on its way is missed."""

    model_config = ConfigDict(extra="ignore")
    number: int = Field(ge=1)
    text: str
    system: str | None = Field(default=None, description="What stands before the conversation, if anything.")
    adapter: bool = Field(default=True, description="False: the base model answers, without what was trained.")
    again_of: int | None = Field(
        default=None,
        description="The message is the one of this number once more, answered from what came before it; "
        "the conversation goes on from the first answer.",
    )
    max_new_tokens: int = Field(default=512, ge=1, le=MOST_NEW_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2, description="0: always the likeliest token.")


TrainerRequest = Literal["measure", "snapshot"]
"""What a running trainer may be asked: to account for every tensor of its next step, or to keep the allocator's history of it."""


class Control(BaseModel):
    model_config = ConfigDict(extra="ignore")
    job: str
    attempt: int
    action: Literal["cancel", "chat"] | TrainerRequest
    messages: list[ChatMessage] = Field(
        default_factory=list[ChatMessage], description="Of a chat: those that it has not taken yet, as far as is known."
    )
    stopped: list[int] = Field(
        default_factory=list[int], description="Of a chat: messages whose answers are to end where they are."
    )


THROTTLING_WORDS = {
    "clocks_limited_by_setting": "clocks limited by a setting",
    "power_limit": "power limit reached",
    "hardware_slowdown": "slowed by the hardware (too hot, or too little power)",
    "sync_boost": "held at the clocks of its group",
    "temperature_software": "too hot: slowed by the driver",
    "temperature_hardware": "too hot: slowed by the hardware",
    "power_brake": "slowed by the power supply's brake",
    "display_clocks": "clocks limited by the display",
}
"""What can slow a GPU down, in words; the keys are what ``GpuReport.throttling`` holds."""


class GpuProcess(BaseModel):
    model_config = ConfigDict(extra="ignore")
    pid: int = Field(description="As the driver numbers it: in a container, perhaps the host's number.")
    name: str | None = None
    user: str | None = Field(default=None, description="The system's name of who runs it.")
    used_bytes: int | None = Field(default=None, description="None: the driver does not tell it.")
    job: str | None = Field(default=None, description="Id of our job that this process belongs to.")


class GpuXid(BaseModel):
    """A fault that the driver reported."""

    model_config = ConfigDict(extra="ignore")
    code: int
    at: float = Field(description="Unix time in seconds on the worker's clock.")
    meaning: str
    meaning_sentence: Sentence | None = None


class GpuReport(BaseModel):
    """A GPU, or a MIG instance of one. A figure that is None is in ``unknown`` with its reason."""

    model_config = ConfigDict(extra="ignore")
    uuid: str
    index: int = Field(description="The driver's number of the GPU; of a MIG instance, that of its GPU.")
    name: str
    compute_capability: tuple[int, int] | None = Field(
        default=None, description="CUDA compute capability (major, minor): what its hardware can do."
    )
    total_bytes: int | None = None
    used_bytes: int | None = Field(default=None, description="All that is not free, the driver's reserve included.")
    free_bytes: int | None = None
    reserved_bytes: int | None = Field(
        default=None, description="What the driver keeps for itself; part of used_bytes."
    )
    utilization_percent: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttling: list[str] | None = Field(default=None, description="What slows it down now: keys of THROTTLING_WORDS.")
    ecc_volatile_uncorrected: int | None = Field(
        default=None, description="Uncorrected memory errors since the driver was loaded."
    )
    ecc_aggregate_uncorrected: int | None = Field(default=None, description="Uncorrected memory errors ever.")
    xids: list[GpuXid] = Field(default_factory=list[GpuXid], description="Newest faults since the worker began.")
    processes: list[GpuProcess] = Field(default_factory=list)
    parent: str | None = Field(default=None, description="UUID of the GPU that this MIG instance is a part of.")
    divided: bool = Field(default=False, description="Its MIG mode is on: jobs run on its instances, not on the whole.")
    unusable_because: str | None = Field(default=None, description="Why no job can run on it, such as a lost GPU.")
    unusable_sentence: Sentence | None = None
    unknown: dict[str, str] = Field(default_factory=dict, description="Figure name -> why it is not known.")
    unknown_sentences: dict[str, Sentence] = Field(default_factory=dict[str, Sentence])


class MachineReport(BaseModel):
    """What a worker says of its machine every few seconds."""

    model_config = ConfigDict(extra="ignore")
    name: str
    at: float
    gpus: list[GpuReport] = Field(default_factory=list)
    gpus_unknown_because: str | None = None
    gpus_unknown_sentence: Sentence | None = None
    host_total_bytes: int
    host_available_bytes: int
    cpu_count: int
    running: list[str] = Field(default_factory=list, description="Ids of the jobs running here.")
    versions: dict[str, str] = Field(default_factory=dict)
    traces: bool = Field(default=False, description="Whether this worker answers TraceRequests.")
    tracing: str | None = Field(default=None, description="Key of the TraceRequest under way here.")


class TraceRequest(BaseModel):
    """Trace this spec. May be lost or doubled: the controller sends it again until there is an answer."""

    model_config = ConfigDict(extra="ignore")
    version: Literal[1] = 1
    key: str
    spec: JobSpec
    config: dict[str, Any] = Field(description="The model's config.json.")
    versions: dict[str, str] = Field(default_factory=dict, description="Library versions that the key was made with.")


class TraceAnswer(BaseModel):
    """A trace, or why there is none."""

    model_config = ConfigDict(extra="ignore")
    key: str
    machine: str
    trace: Trace | None = None
    reason: str | None = Field(default=None, description="Why the spec cannot be traced, in words for its user.")
    reason_sentence: Sentence | None = None
