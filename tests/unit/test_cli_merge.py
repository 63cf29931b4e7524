"""``tunescope merge --follow``: it ends as the merge does; the server is a stand-in that says what it was told."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tunescope.cli import merge
from tunescope.cli.main import main
from tunescope.events import Failure, JobEvent, StateEvent
from tunescope.sentences import say
from tunescope.states import FailureReason, JobState

FAILURE = Failure.of(FailureReason.DISK_FULL, say("disk_full", stage="merging"), say("free_space_to_merge"))


class Server:
    """Merges at once; ``failure`` is how that ends."""

    def __init__(self, failure: Failure | None) -> None:
        self.failure = failure
        self.ended = JobState.FAILED if failure else JobState.SUCCEEDED

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def merge(self, job_id: str) -> dict[str, Any]:
        assert job_id == "j"
        return {"id": "m", "state": "queued"}

    def job(self, job_id: str) -> dict[str, Any]:
        assert job_id == "m"
        return {"id": job_id, "state": self.ended}

    def follow(self, job_id: str, on_lost: Callable[[str], None]) -> Iterator[JobEvent]:
        yield StateEvent(job=job_id, attempt=1, sequence=1, at=1.0, state=self.ended, failure=self.failure)


@pytest.mark.parametrize(
    ("failure", "code", "told"),
    [(None, 0, "tunescope jobs download j"), (FAILURE, 1, "Free space there, then merge again.")],
)
def test_it_ends_as_the_merge_does_and_says_what_next(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: Failure | None,
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(merge, "Client", lambda: Server(failure))
    assert main(["merge", "j", "--follow"]) == code
    assert told in capsys.readouterr().err
