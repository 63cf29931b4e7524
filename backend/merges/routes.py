"""Merges over HTTP. A merge is a job beside its training: its state, events and end are those of any job."""

from fastapi import APIRouter, BackgroundTasks

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.jobs import service as jobs
from backend.jobs.routes import wake, whole
from backend.jobs.schemas import Job
from backend.merges import service
from backend.merges.schemas import MergePlan

router = APIRouter(prefix="/jobs/{job_id}", tags=["merges"])


@router.get("/merge", name="plan")
def plan(job_id: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser) -> MergePlan:
    """Whether this job's adapter can be merged into its model, what that takes, and how far it has come."""
    found = service.standing(session, settings, job_id)
    return MergePlan(
        unavailable=found.unavailable,
        merged=found.merged,
        disk_bytes=found.published.disk_bytes if found.published else None,
        memory_bytes=found.published.memory_bytes if found.published else None,
        merge=whole(session, *jobs.get(session, found.merge.id)) if found.merge else None,
    )


@router.post("/merge", status_code=202, name="start")
def start(
    job_id: str, session: SessionDep, settings: SettingsDep, user: CurrentUser, bell: RedisDep, after: BackgroundTasks
) -> Job:
    """Merge the adapter that this job has left into its model: one model more among its files, in merged/.

    Its owner and admins only. It takes main memory and no GPU. Poll ``GET /api/jobs/{id}/merge``, or follow the job that is answered,
    which ``POST /api/jobs/{id}/cancel`` with its id ends. Asked for again while it is under way, it is the same.
    """
    row = service.start(session, settings, user, job_id)
    after.add_task(wake, bell, "merge")
    return whole(session, *jobs.get(session, row.id))
