"""What one asks about memory: a spec or two, and what the answer is to be for. Unknown fields are errors."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend.estimates.resolve import Side
from tunescope.memory.explain import Language
from tunescope.memory.stack import Stack, stack_named
from tunescope.spec import JobSpec


class AnswerFor(BaseModel):
    """The part that all requests share: on which GPU, with which library versions."""

    model_config = ConfigDict(extra="forbid")
    gpu: str | None = Field(
        default=None,
        max_length=100,
        description="A GPU of this server by the driver's name, or one of the catalogue by its name or the driver's; A100-80GB if not given.",
    )
    stack: str | None = Field(
        default=None,
        max_length=100,
        description="Library versions, by the name of a stack profile; the worker's own, or those of a recipe, if not given.",
    )

    def chosen_stack(self) -> Stack | None:
        """The stack profile that was asked for. Raises InvalidInput for an unknown name."""
        return stack_named(self.stack) if self.stack else None


class EstimateRequest(AnswerFor):
    spec: JobSpec
    config: dict[str, Any] | None = Field(
        default=None,
        description="The model's config.json, for a model that neither the catalogue nor this server's library nor a hub knows.",
    )


class AdviceRequest(EstimateRequest):
    language: Language = "en"


class ExplanationRequest(AnswerFor):
    """Two sides, each a spec, the name of a recipe, the id of a job, or one of the latter with changed fields.

    ``gpu`` and ``stack`` hold for both.
    """

    a: Side
    b: Side
    language: Language = "en"
