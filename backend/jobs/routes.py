"""Jobs over HTTP."""

import shutil
from typing import Annotated
from urllib.parse import quote

import redis
from fastapi import APIRouter, BackgroundTasks, Query
from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy.orm import Session

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.jobs import service
from backend.jobs.archive import archive
from backend.jobs.artifacts import file_of, kept
from backend.jobs.schemas import Artifact, CloneRequest, Job, Jobs, job_of
from backend.jobs.suggestions import FailureSuggestion, suggestions
from backend.jobs.tables import TRAIN, JobRow, Task
from tunescope import wire
from tunescope.memory.advise import Language
from tunescope.problems import NotFound
from tunescope.sentences import say
from tunescope.spec import JobSpec, patched
from tunescope.states import JobState
from tunescope.stored_spec import stored_spec

router = APIRouter(prefix="/jobs", tags=["jobs"])
LanguageQuery = Annotated[Language, Query(description="Of the suggestions after an out-of-memory failure.")]


def wake(connection: redis.Redis, why: str) -> None:
    """Ring the controller's bell after the commit; if Redis is away, its loop comes round by itself."""
    try:
        connection.publish(wire.WAKE, why)
    except redis.RedisError:
        return


@router.post("", status_code=201)
def create(
    spec: JobSpec, session: SessionDep, settings: SettingsDep, user: CurrentUser, bell: RedisDep, after: BackgroundTasks
) -> Job:
    """Queue a job. What cannot run on this server is refused with the field and its remedy."""
    row = service.create(session, settings, user, spec)
    after.add_task(wake, bell, "created")
    return job_of(row, user.username)


@router.get("", name="list")
def list_jobs(
    session: SessionDep,
    _user: CurrentUser,
    task: Annotated[Task, Query(description="Trainings, chats with their results, or merges of them.")] = TRAIN,
    state: Annotated[str | None, Query(max_length=200, description="Only these states, with commas.")] = None,
    owner: Annotated[str | None, Query(max_length=100, description="Only jobs of this username.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="A part of the name, or a whole id.")] = None,
    ids: Annotated[str | None, Query(max_length=4000, description="Only these jobs, with commas.")] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="next_cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Jobs a page.")] = 50,
) -> Jobs:
    """Jobs of everybody, newest first, by state, owner, a part of the name or their ids."""
    rows, following = service.page_of(
        session, task=task, state=state, owner=owner, query=q, ids=ids, cursor=cursor, limit=limit
    )
    chats, merges = service.chats_of(session, rows), service.merges_of(session, rows)
    items = [job_of(row, username, chat=chats.get(row.id), merge=merges.get(row.id)) for row, username in rows]
    return Jobs(items=items, next_cursor=following)


@router.get("/{job_id}")
def show(
    job_id: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser, language: LanguageQuery = "en"
) -> Job:
    """One job: its state, progress, newest figures and, if it failed, why and what to do."""
    row, username = service.get(session, job_id)
    job = whole(session, row, username, suggestions(session, settings, row, language))
    job.notes, job.note_sentences = service.notes(session, row)
    return job


def whole(session: Session, row: JobRow, username: str, found: list[FailureSuggestion] | None = None) -> Job:
    """A job with what lists leave out: it takes queries of its own."""
    earlier = service.earlier_attempts(session, row.id)
    chat = service.chats_of(session, [(row, username)]).get(row.id)
    merge = service.merges_of(session, [(row, username)]).get(row.id)
    return job_of(row, username, found, earlier, service.checkpoint_step(session, row), chat, merge)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, session: SessionDep, user: CurrentUser, bell: RedisDep, after: BackgroundTasks) -> Job:
    """A queued job ends at once; a running one saves a checkpoint and leaves. Its owner and admins only."""
    service.cancel(session, user, job_id)
    after.add_task(wake, bell, "cancelled")
    row, username = service.get(session, job_id)
    return whole(session, row, username)


@router.post("/{job_id}/retry")
def retry(job_id: str, session: SessionDep, user: CurrentUser, bell: RedisDep, after: BackgroundTasks) -> Job:
    """Queue a failed or cancelled job again, from its last checkpoint if it has one. Its owner and admins only."""
    service.retry(session, user, job_id)
    after.add_task(wake, bell, "retried")
    row, username = service.get(session, job_id)
    return whole(session, row, username)


@router.post("/{job_id}/clone", status_code=201)
def clone(
    job_id: str,
    session: SessionDep,
    settings: SettingsDep,
    user: CurrentUser,
    bell: RedisDep,
    after: BackgroundTasks,
    body: CloneRequest | None = None,
) -> Job:
    """Queue a new job with the spec of another one, with changes if wanted."""
    original = service.get_training(session, job_id)
    spec = body.spec if body and body.spec else stored_spec(original.spec)
    spec = patched(spec, body.patch if body else {})
    row = service.create(session, settings, user, spec)
    after.add_task(wake, bell, "cloned")
    return job_of(row, user.username)


@router.delete("/{job_id}", status_code=204)
def remove(job_id: str, session: SessionDep, settings: SettingsDep, user: CurrentUser, after: BackgroundTasks) -> None:
    """Delete a job that has ended, with its files, the chats with its result and its merged model. Its owner and admins only."""
    for gone in service.remove(session, user, job_id):
        after.add_task(shutil.rmtree, settings.data_dir / "jobs" / gone, ignore_errors=True)


@router.get("/{job_id}/artifacts")
def artifacts(job_id: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser) -> list[Artifact]:
    """Files that the newest attempt left: the adapter or model, and its spec; and the model that the adapter was merged into."""
    row, _ = service.get(session, job_id)
    return [
        Artifact(
            name=file.name,
            bytes=file.bytes,
            sha256=file.sha256,
            url=f"/api/jobs/{job_id}/artifacts/{quote(file.name)}",
        )
        for file in kept(session, settings, row)
    ]


class ZipResponse(StreamingResponse):
    media_type = "application/zip"


@router.get("/{job_id}/artifacts.zip", response_class=ZipResponse)
def all_artifacts(job_id: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser) -> ZipResponse:
    """Download all of these files as one zip archive."""
    row, _ = service.get(session, job_id)
    files = [(file.name, file.path) for file in kept(session, settings, row)]
    if not files:
        gone = row.state == JobState.SUCCEEDED  # such a run has left some
        raise NotFound(say("files_gone" if gone else "job_has_no_files"), say("see_files_tab"))
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.zip"'}
    return ZipResponse(archive(files, job_id), headers=headers)


@router.get("/{job_id}/artifacts/{name:path}", response_class=FileResponse)
def artifact(job_id: str, name: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser) -> FileResponse:
    """Download one file."""
    row, _ = service.get(session, job_id)
    path = file_of(session, settings, row, name)
    if path is None:
        raise NotFound(say("job_has_no_file", file=name), say("see_files_tab"))
    return FileResponse(path, filename=f"{job_id}-{path.name}")
