#!/usr/bin/env bash
# Every check and every test. PYTEST_ARGS narrows the tests, e.g. PYTEST_ARGS="tests/unit -x".
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
  echo "== Chromium for the browser tests"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-noto-cjk >/dev/null
  else
    echo "The browser tests need Chromium: install it, or set CHROMIUM to its path." >&2
    exit 1
  fi
fi
bash scripts/check.sh
# A hundred processes start here; where nothing may be cached each would compile our modules anew, half a second of its time.
unset PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
exec .venv/bin/python -m pytest -n 3 --no-loadscope-reorder ${PYTEST_ARGS:-}
