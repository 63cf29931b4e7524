"""create_app(): routers, problems, the page, and what lives as long as the server."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import redis
import redis.asyncio
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from backend import health, openapi, problems, prometheus
from backend.chats import routes as chats
from backend.database import make_engine, make_sessions, transaction
from backend.datasets import routes as datasets
from backend.datasets.service import register_builtin
from backend.dependencies import signed_in
from backend.estimates import routes as estimates
from backend.gpus import routes as gpus
from backend.jobs import routes as jobs
from backend.limits import BodyLimit
from backend.measured import routes as measured
from backend.merges import routes as merges
from backend.models import routes as models
from backend.page import PageFiles
from backend.reference import routes as reference
from backend.resources import resource
from backend.telemetry import routes as telemetry
from backend.telemetry.hub import Hub
from backend.traces import routes as traces
from backend.users import routes as users
from tunescope.settings import ServerSettings

ROUTERS = (
    health,
    users,
    jobs,
    chats,
    merges,
    telemetry,
    datasets,
    models,
    estimates,
    traces,
    measured,
    gpus,
    reference,
)
THREADS = 64
"""Requests that may wait for SQL or Redis at once."""
PAGE_DIR = resource("frontend/dist")
NOT_BUILT = "<!doctype html><title>Tunescope</title><p>The page is not built yet: run <code>make up</code>.</p>"


def operation_id(route: APIRoute) -> str:
    tag = str(route.tags[0]) if route.tags else "api"
    return f"{tag}_{route.name}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    settings: ServerSettings = app.state.settings
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    engine = make_engine(settings.sqlalchemy_url())
    app.state.sessions = make_sessions(engine)
    app.state.redis = redis.Redis.from_url(settings.redis_url, decode_responses=True, socket_timeout=5)
    app.state.async_redis = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
    app.state.hub = Hub(app.state.async_redis)
    app.state.started_at = time.monotonic()

    def register() -> None:
        with transaction(app.state.sessions) as session:
            register_builtin(session, settings)

    await asyncio.to_thread(register)
    yield
    await app.state.async_redis.aclose()
    app.state.redis.close()
    engine.dispose()


def refuse_strangers(request: Request) -> None:
    """Raises NotSignedIn, or Forbidden for another site's form."""
    with transaction(request.app.state.sessions) as session:
        signed_in(request, session, request.app.state.settings)


def create_app(settings: ServerSettings | None = None, page_dir: Path = PAGE_DIR) -> FastAPI:
    """The service. ``settings`` come from the environment if not given."""
    app = FastAPI(
        title="Tunescope",
        version=health.installed_version(),
        description="Launch and watch fine-tunes, and account for every byte of VRAM.",
        # Ours need signing in: backend/reference.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
    )
    app.state.settings = settings or ServerSettings()
    problems.install(app)
    openapi.install(app)
    app.add_middleware(
        BodyLimit, max_upload_bytes=app.state.settings.max_upload_bytes, refuse_strangers=refuse_strangers
    )
    api = APIRouter(prefix="/api")
    for module in ROUTERS:
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(prometheus.router)
    if (page_dir / "index.html").is_file():
        # Where no route is: a mount at / would also take what a route refuses, such as a wrong method.
        app.router.default = PageFiles(directory=page_dir)
    else:
        app.add_api_route("/", lambda: HTMLResponse(NOT_BUILT), include_in_schema=False)
    return app
