"""Settings of torch's CUDA allocator for a trainer, which reads them from its environment when it starts.

``c10/core/AllocatorConfig.h`` (torch 2.13): options are ``name:value``, separated by commas, and the last of a name counts;
PYTORCH_ALLOC_CONF goes before the older PYTORCH_CUDA_ALLOC_CONF, but ``CUDAAllocatorConfig.h`` reads them the other way
round: so only one of them may be left.
"""

from collections.abc import Mapping

SETTINGS_ENV = "PYTORCH_ALLOC_CONF"
OLDER_ENV = "PYTORCH_CUDA_ALLOC_CONF"
EXPANDABLE = "expandable_segments:True"


def with_expandable_segments(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment with segments that can expand, and whatever else it sets for the allocator."""
    rest = {name: value for name, value in environment.items() if name not in (SETTINGS_ENV, OLDER_ENV)}
    settings = environment.get(SETTINGS_ENV) or environment.get(OLDER_ENV) or ""
    return rest | {SETTINGS_ENV: f"{settings.rstrip(',')},{EXPANDABLE}" if settings else EXPANDABLE}
