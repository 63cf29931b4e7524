"""Settings of torch's CUDA allocator for a trainer, which reads them from its environment when it starts.

``c10/core/AllocatorConfig.h`` (torch 2.13): options are ``name:value``, separated by commas, and the last of a name counts;
PYTORCH_ALLOC_CONF goes before the older PYTORCH_CUDA_ALLOC_CONF, but ``CUDAAllocatorConfig.h`` reads them the other way
round: so only one of them may be left.
"""

from collections.abc import Mapping

SETTINGS_ENV = "PYTORCH_ALLOC_CONF"
OLDER_ENV = "PYTORCH_CUDA_ALLOC_CONF"
EXPANDABLE = "expandable_segments"


def with_segments(environment: Mapping[str, str], expandable: bool) -> dict[str, str]:
    """The same environment, but for whether segments can expand, which the job spec decides: estimates go by it."""
    # CUDA's part reads the older variable alone where there are both: what it says comes later, and so counts.
    told = [value for name in (SETTINGS_ENV, OLDER_ENV) if (value := environment.get(name, "").strip(","))]
    if not expandable and not any(EXPANDABLE in value for value in told):
        return dict(environment)
    rest = {name: value for name, value in environment.items() if name not in (SETTINGS_ENV, OLDER_ENV)}
    return rest | {SETTINGS_ENV: ",".join([*told, f"{EXPANDABLE}:{expandable}"])}
