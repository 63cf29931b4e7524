"""The tokens of one micro batch."""

from dataclasses import dataclass

from tunescope.spec import JobSpec


@dataclass(frozen=True)
class Workload:
    """Tokens of one micro batch as padded: ``batch`` rows of ``sequence`` tokens."""

    batch: int
    sequence: int

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence


def uneven(spec: JobSpec, work: Workload) -> bool:
    """Whether rows end at different tokens: packed into one, or several of a batch, of which the shorter ones are padded."""
    return spec.data.packing or work.batch > 1
