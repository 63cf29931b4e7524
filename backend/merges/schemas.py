"""Merges as they cross the wire."""

from pydantic import BaseModel, Field

from backend.jobs.schemas import Job
from backend.problems import ProblemDetails


class MergePlan(BaseModel):
    """Whether a job's adapter can be merged into its model, what that takes, and how far it has come."""

    unavailable: ProblemDetails | None = Field(
        description="Why it cannot be merged now, and what to do; null where it can, or is under way."
    )
    merged: bool = Field(description="The merged model is among the job's files, in merged/.")
    disk_bytes: int | None = Field(description="Of the merged model, about; null where the model is not known here.")
    memory_bytes: int | None = Field(description="Main memory while it is merged, about; null likewise.")
    merge: Job | None = Field(description="The merge itself; null where nobody has asked for one.")
