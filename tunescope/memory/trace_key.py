"""What makes two traces the same: the model's config, the part of the spec that memory depends on, the versions."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tunescope.memory.trace import Trace
from tunescope.spec import JobSpec

IRRELEVANT: dict[str, set[str]] = {
    "data": {"dataset"},
    "optimizer": {"learning_rate", "lr_scheduler_type", "warmup_ratio"},
}
"""Fields that no tensor depends on, beside the whole of name, model (its config counts), schedule and placement."""


def relevant(spec: JobSpec) -> dict[str, Any]:
    """The part of a spec that decides memory."""
    fields: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "model", "schedule", "placement"})
    return {
        section: {name: value for name, value in values.items() if name not in IRRELEVANT.get(section, ())}
        for section, values in fields.items()
    }


def trace_key(spec: JobSpec, config: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Hexadecimal SHA-256 under which a trace is kept."""
    trace_format = Trace.model_fields["version"].default
    parts = [trace_format, relevant(spec), config, versions]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
