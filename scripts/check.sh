#!/usr/bin/env bash
# Linters and types.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
echo "== ruff"; $bin/ruff check .; $bin/ruff format --check .
echo "== import rules"; $bin/lint-imports
echo "== types"; $bin/pyright
if [ -f frontend/package.json ]; then
  export PATH="$($bin/python scripts/node_bin.py):$PATH"
  echo "== page"; (cd frontend && npx biome check src; npx tsc --noEmit)
fi
