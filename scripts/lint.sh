#!/usr/bin/env bash
# Check style and types. Every check runs, whatever the one before said.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples sweep test
cd -- "$project_root"
status=0
"$venv_python" -m ruff check . || status=1
"$venv_python" -m ruff format --check . || status=1
"$venv_python" -m mypy || status=1
exit "$status"
