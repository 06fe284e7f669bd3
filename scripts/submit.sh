#!/usr/bin/env bash
# Send a job or a study to Vertex AI: scripts/submit.sh [flags of python -m trainer.submit]
# The first call makes the environment (see environment.sh). Paths in the flags are relative to where you stand.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples
run_door trainer.submit "$@"
