"""Chats as they cross the wire."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tunescope.memory.inference import LEAST_CONTEXT, MOST_CONTEXT
from tunescope.sentences import Sentence
from tunescope.wire import MOST_CHARACTERS, MOST_NEW_TOKENS


class ChatPlan(BaseModel):
    """Whether a job's result can be asked, and the memory that a chat with it takes."""

    unavailable_because: str | None = Field(description="Why it cannot be asked; null where it can.")
    unavailable_sentence: Sentence | None
    context_tokens: int = Field(description="Tokens of the longest conversation that the estimate is for.")
    most_tokens: int | None = Field(description="The most that the model reads; null where that is not known.")
    adapter: bool = Field(description="Whether the base model can answer as well, without what was trained.")
    estimate: dict[str, Any] | None = Field(
        description="As a job's, with kv_bytes_per_token; its ledger has kv_cache in place of what only training needs."
    )
    estimate_unknown_because: str | None
    estimate_unknown_sentence: Sentence | None
    idle_seconds: float = Field(description="A chat ends by itself after so long without a message.")


class ChatStart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    context_tokens: int | None = Field(
        default=None,
        ge=LEAST_CONTEXT,
        le=MOST_CONTEXT,
        description="Tokens of the longest conversation, for which memory is kept; 4096 or what the model can if not given.",
    )


class NewMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    system: str | None = Field(
        default=None, max_length=MOST_CHARACTERS, description="What stands before the conversation, if anything."
    )
    adapter: bool = Field(default=True, description="False: the base model answers, without what was trained.")
    max_new_tokens: int = Field(default=512, ge=1, le=MOST_NEW_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2, description="0: always the likeliest token.")
    again_of: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="Ask the message of this number once more, such as without the adapter: from what came before it, "
        "and the conversation goes on from its first answer.",
    )


class Message(BaseModel):
    """A message; its answer is told by the chat's events."""

    number: int
    at: float
    text: str
    system: str | None
    adapter: bool
    max_new_tokens: int
    temperature: float
    again_of: int | None
    taken: bool = Field(description="The model has it.")
    stopped: bool = Field(description="Somebody has asked for the end of its answer.")
    ended: bool = Field(description="Its answer is there.")


class Messages(BaseModel):
    items: list[Message]
