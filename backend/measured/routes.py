"""Measured memory over HTTP: a job's ledgers, anatomy and warnings, asking for more, and the accuracy of all jobs."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.dependencies import CurrentUser, RedisDep, SessionDep
from backend.jobs import service as jobs
from backend.measured import accuracy, service
from backend.measured.schemas import Accuracy, Anatomy, Asked, Ledgers, MemoryWarnings

router = APIRouter(tags=["measured"])


@router.get("/jobs/{job_id}/ledgers", name="ledgers")
def ledgers(job_id: str, session: SessionDep, _user: CurrentUser) -> Ledgers:
    """Predicted and measured bytes by category, with the error of each, for every measured step."""
    return service.ledgers(session, jobs.get(session, job_id)[0])


@router.get("/jobs/{job_id}/anatomy", name="anatomy")
def anatomy(
    job_id: str,
    session: SessionDep,
    _user: CurrentUser,
    step: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    attempt: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="Of this attempt; the newest that measured it if not given.")
    ] = None,
) -> Anatomy:
    """Memory over time within one measured step; the newest if no step is given."""
    return service.anatomy(session, jobs.get(session, job_id)[0], step, attempt)


@router.get("/jobs/{job_id}/warnings", name="warnings")
def warnings(job_id: str, session: SessionDep, _user: CurrentUser) -> MemoryWarnings:
    """What a person should hear about this job's memory, newest first."""
    return service.warnings(session, jobs.get(session, job_id)[0])


@router.post("/jobs/{job_id}/measure", status_code=202, name="measure")
def measure(job_id: str, session: SessionDep, user: CurrentUser, connection: RedisDep) -> Asked:
    """Have the trainer account for every tensor of its next step, which takes longer for it."""
    row, _ = jobs.get_own(session, user, job_id)
    jobs.get_training(session, job_id)
    service.ask(connection, row, "measure")
    return Asked(action="measure", after_step=row.step)


@router.post("/jobs/{job_id}/snapshot", status_code=202, name="snapshot")
def snapshot(job_id: str, session: SessionDep, user: CurrentUser, connection: RedisDep) -> Asked:
    """Have the trainer keep the allocator's history of its next step: a file for PyTorch's memory viewer."""
    row, _ = jobs.get_own(session, user, job_id)
    jobs.get_training(session, job_id)
    service.ask(connection, row, "snapshot")
    return Asked(action="snapshot", after_step=row.step)


@router.get("/accuracy", name="accuracy")
def accuracy_table(
    session: SessionDep,
    _user: CurrentUser,
    cursor: Annotated[str | None, Query(max_length=100, description="next_cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Jobs a page.")] = 100,
) -> Accuracy:
    """Every measured job beside its estimate, and what the runs of each GPU calibrate."""
    return accuracy.accuracy_page(session, cursor, limit)
