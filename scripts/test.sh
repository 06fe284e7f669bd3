#!/usr/bin/env bash
# Run the tests: scripts/test.sh [pytest arguments], paths in them relative to the project root.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples sweep test
cd -- "$project_root"
exec "$venv_python" -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder --timeout=300 "$@"
