#!/usr/bin/env bash
# Linters and types.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
echo "== ruff"; $bin/ruff check .; $bin/ruff format --check .
echo "== import rules"; $bin/lint-imports
# Types take longest and one core: the page is checked meanwhile.
types=$(mktemp); trap 'kill %% 2>/dev/null || true; rm -f "$types"' EXIT
$bin/pyright >"$types" 2>&1 &
if [ -f frontend/package.json ]; then
  export PATH="$($bin/python scripts/node_bin.py):$PATH"
  echo "== page"; (cd frontend && npx biome check src; npx tsc --noEmit)
fi
echo "== types"; wait $! && passed=0 || passed=$?
cat "$types"; exit $passed
