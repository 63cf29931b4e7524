import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.parts import Parts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Redis and a database; the test starts controller and worker when it wants them."""
    sockets = Path(tempfile.mkdtemp(prefix="tsw-"))  # a socket's path must be short
    built = Parts(tmp_path, sockets)
    built.start_redis()
    try:
        yield built
    finally:
        built.stop_all()
        shutil.rmtree(sockets, ignore_errors=True)
