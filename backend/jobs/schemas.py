"""Jobs as they cross the wire."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.chats.tables import ChatRow
from backend.jobs.older_failures import parts_told_apart
from backend.jobs.suggestions import FailureSuggestion
from backend.jobs.tables import AttemptRow, JobRow, Task
from backend.merges.tables import MergeRow
from backend.problems import ProblemDetails
from tunescope.events import FailureMemory
from tunescope.sentences import Sentence
from tunescope.spec import JobSpec
from tunescope.states import JobState


class Owner(BaseModel):
    id: str
    username: str


class Progress(BaseModel):
    step: int
    total_steps: int | None
    eta_seconds: float | None = Field(description="Unknown until steps have been seen.")


class JobFailure(BaseModel):
    model_config = ConfigDict(extra="ignore")
    reason: str
    detail: str
    advice: str = ""
    memory: FailureMemory | None = None
    detail_sentence: Sentence | None = Field(
        default=None, description="What happened, without what ``memory`` and ``last_lines`` tell."
    )
    advice_sentence: Sentence | None = None
    last_lines: list[str] = Field(
        default_factory=list, description="The end of the log of a trainer that ended without a last word."
    )
    suggestions: list[FailureSuggestion] = Field(
        default_factory=list,
        description="Out of memory, on GET of one job: changes that would help, with their patches.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_any_release(cls, stored: Any) -> Any:
        return parts_told_apart(stored) if isinstance(stored, dict) else stored


class EarlierAttempt(BaseModel):
    """An attempt that was followed by another: a retry, or the job's own next one after its machine was lost."""

    model_config = ConfigDict(from_attributes=True)
    attempt: int
    state: JobState = Field(description="failed or cancelled.")
    failure: JobFailure | None
    machine: str | None
    gpus: list[str]
    step: int = Field(description="The last step that was told.")
    total_steps: int | None
    resume_from_attempt: int | None
    started_at: float | None
    finished_at: float


class ChatOf(BaseModel):
    """What is a chat's own."""

    model_config = ConfigDict(from_attributes=True)
    result_of: str = Field(description="Id of the job whose result answers.")
    context_tokens: int = Field(description="Tokens of the longest conversation, for which memory is kept.")
    idle_seconds: float = Field(description="It ends by itself after so long without a message.")


class MergeOf(BaseModel):
    """What is a merge's own."""

    model_config = ConfigDict(from_attributes=True)
    result_of: str = Field(description="Id of the job whose adapter is merged.")
    memory_bytes: int | None = Field(description="Main memory that it takes, about; null where that is not known.")


class Job(BaseModel):
    id: str
    task: Task = Field(description="What is done: a training, a chat with what one has left, or its merging.")
    chat: ChatOf | None = Field(default=None, description="Of a chat only.")
    merge: MergeOf | None = Field(default=None, description="Of a merge only.")
    name: str
    state: JobState
    attempt: int
    resume_from_attempt: int | None = Field(
        description="The attempt whose last checkpoint this one goes on from; null if it begins at step 1."
    )
    checkpoint_step: int | None = Field(
        default=None,
        description="Of one job that failed or was cancelled, not in lists: the step of the last checkpoint, "
        "which a retry goes on from; null if it would begin at step 1.",
    )
    owner: Owner
    spec: dict[str, Any]
    estimate: dict[str, Any] | None
    estimate_unknown_because: str | None
    estimate_unknown_problem: ProblemDetails | None = Field(
        description="The same for programs, with paths in the job's spec; null for jobs of older releases."
    )
    progress: Progress
    failure: JobFailure | None
    machine: str | None
    gpus: list[str]
    created_at: float
    started_at: float | None
    finished_at: float | None
    waiting_because: str | None
    waiting_sentence: Sentence | None
    latest: dict[str, Any] | None = Field(
        description="Figures of the newest step: loss, tokens_per_second, memory; evaluation_loss of the newest evaluation."
    )
    peaks: dict[str, int] = Field(
        description="The highest memory of the run so far in bytes, over all its steps and attempts, by who measured it."
    )
    stage: str | None
    notes: list[str] = Field(
        default_factory=list,
        description="On GET of one job: what its run does otherwise than asked, or leaves out.",
    )
    note_sentences: list[Sentence] = Field(
        default_factory=list[Sentence], description="In the order of ``notes``; none from a worker of an older release."
    )
    earlier_attempts: list[EarlierAttempt] = Field(
        default_factory=list,
        description="Of one job, not in lists: how the attempts before this one ended, the first one first.",
    )


class Jobs(BaseModel):
    items: list[Job]
    next_cursor: str | None


class CloneRequest(BaseModel):
    spec: JobSpec | None = Field(default=None, description="Use this spec in place of the original's.")
    patch: dict[str, Any] = Field(
        default_factory=dict,
        description="Dotted fields to change, such as those of a suggestion, {'batch.…': 1}, or the name: {'name': 'second'}.",
    )


def job_of(
    row: JobRow,
    username: str,
    suggestions: list[FailureSuggestion] | None = None,
    earlier: Sequence[AttemptRow] = (),
    checkpoint_step: int | None = None,
    chat: ChatRow | None = None,
    merge: MergeRow | None = None,
) -> Job:
    failure = JobFailure.model_validate(row.failure) if row.failure else None
    if failure and suggestions:
        failure.suggestions = suggestions
    return Job(
        id=row.id,
        task=row.task,
        chat=ChatOf.model_validate(chat) if chat else None,
        merge=MergeOf.model_validate(merge) if merge else None,
        name=row.name,
        state=JobState(row.state),
        attempt=row.attempt,
        resume_from_attempt=row.resume_from_attempt,
        checkpoint_step=checkpoint_step,
        owner=Owner(id=row.owner_id, username=username),
        spec=row.spec,
        estimate=row.estimate,
        estimate_unknown_because=row.estimate_unknown_because,
        estimate_unknown_problem=ProblemDetails.model_validate(row.estimate_unknown_problem)
        if row.estimate_unknown_problem
        else None,
        progress=Progress(step=row.step, total_steps=row.total_steps, eta_seconds=eta_seconds(row)),
        failure=failure,
        machine=row.machine,
        gpus=row.gpus,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        waiting_because=row.waiting_because,
        waiting_sentence=Sentence.model_validate(row.waiting_sentence) if row.waiting_sentence else None,
        latest=row.latest,
        peaks=row.peaks or {},
        stage=row.stage,
        earlier_attempts=[EarlierAttempt.model_validate(attempt) for attempt in earlier],
    )


def eta_seconds(row: JobRow) -> float | None:
    """Seconds to the last step at the newest mean step time; unknown outside a run."""
    seconds = (row.latest or {}).get("mean_step_seconds")
    if row.state != JobState.RUNNING or not seconds or not row.total_steps:
        return None
    return max(0, row.total_steps - row.step) * float(seconds)


class Artifact(BaseModel):
    name: str
    bytes: int
    sha256: str | None
    url: str
