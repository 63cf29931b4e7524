"""The states of a job and which may follow which: one table that everything else asks."""

from enum import StrEnum


class JobState(StrEnum):
    QUEUED = "queued"
    ASSIGNED = "assigned"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FailureReason(StrEnum):
    """Why a job failed. ``docs/failures.md`` explains each to users."""

    INVALID_MODEL = "invalid_model"
    MODEL_UNREACHABLE = "model_unreachable"
    INVALID_DATASET = "invalid_dataset"
    INVALID_SETTINGS = "invalid_settings"
    OUT_OF_MEMORY = "out_of_memory"
    TRAINER_KILLED = "trainer_killed"
    TRAINER_CRASHED = "trainer_crashed"
    GPU_LOST = "gpu_lost"
    DISK_FULL = "disk_full"
    MACHINE_LOST = "machine_lost"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.ASSIGNED, JobState.CANCELLED, JobState.FAILED}),
    JobState.ASSIGNED: frozenset({JobState.STARTING, JobState.QUEUED, JobState.CANCELLING, JobState.FAILED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLING, JobState.QUEUED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
ACTIVE = frozenset({JobState.ASSIGNED, JobState.STARTING, JobState.RUNNING, JobState.CANCELLING})


def may_follow(current: JobState, following: JobState) -> bool:
    """Whether a job in ``current`` may be moved to ``following``."""
    return following in TRANSITIONS[current]
