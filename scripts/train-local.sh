#!/usr/bin/env bash
# Train on this machine: scripts/train-local.sh [flags of python -m trainer.task]
# The first call makes the environment (see environment.sh). Paths in the flags are relative to where you stand.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples
export TRAINER_COMMAND="$0" # for the commands that a job proposes
run_door trainer.task "$@"
