"""What the page takes from elsewhere is complete and fresh: the typed client."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"


def node_path() -> str:
    command = [sys.executable, str(ROOT / "scripts" / "node_bin.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_generated_client_is_fresh() -> None:
    schema = subprocess.run([sys.executable, ROOT / "scripts" / "openapi.py"], capture_output=True, check=True).stdout
    answer = subprocess.run(
        [FRONTEND / "node_modules" / ".bin" / "openapi-typescript"],
        input=schema,
        capture_output=True,
        cwd=FRONTEND,
        env=os.environ | {"PATH": f"{node_path()}:{os.environ['PATH']}"},
        check=True,
    )
    kept = (FRONTEND / "src" / "api" / "schema.gen.ts").read_text()
    assert answer.stdout.decode().strip() == kept.strip(), "run `make client` and commit the result"
