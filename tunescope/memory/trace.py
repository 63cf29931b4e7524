"""Trace: the exact memory of one training step, found by running the real model without weights or a GPU.

``worker/tracer`` makes it (torch lives there); everything else reads it. Bytes are per GPU; categories are the ledger's.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tunescope.sentences import Sentence

Phase = Literal["load", "data", "forward", "loss", "backward", "optimizer", "evaluation", "checkpoint"]
"""The parts of a run that memory is told for."""


class TracePoint(BaseModel):
    """Live bytes by category after one allocation or release; the timeline keeps the peaks of each span of events."""

    model_config = ConfigDict(extra="ignore")
    phase: Phase
    bytes_by_category: dict[str, int]


class Replay(BaseModel):
    """What CUDA's caching allocator makes of the step's allocations."""

    model_config = ConfigDict(extra="ignore")
    expandable_segments: bool
    active_peak_bytes: int = Field(description="torch.cuda.max_memory_allocated")
    reserved_peak_bytes: int = Field(description="torch.cuda.max_memory_reserved on a card with room")
    smallest_budget_bytes: int = Field(description="The least reserved memory with which the step still runs.")


class Trace(BaseModel):
    """The answer of the tracer for one spec, one model and one set of library versions."""

    model_config = ConfigDict(extra="ignore")
    version: Literal[1] = 1
    peak_bytes: int = Field(description="Highest live bytes of the steady step, cuBLAS workspaces included.")
    peak_phase: Phase
    peak_site: str = Field(description="The site of the closed form (tunescope.memory.sites) at which the peak lies.")
    ledger: dict[str, int] = Field(description="Live bytes by category at the peak; they sum to peak_bytes.")
    sites: dict[str, int] = Field(description="Highest live bytes at each site of the step.")
    first_step_peak_bytes: int
    replay: Replay
    timeline: list[TracePoint] = Field(description="The steady step, at most 600 points, in order of time.")
    versions: dict[str, str]
    assumptions: list[str] = Field(default_factory=list)
    assumption_sentences: list[Sentence] = Field(default_factory=list[Sentence])
    seconds: float = Field(description="How long the trace took.")
