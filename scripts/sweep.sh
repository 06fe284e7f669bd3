#!/usr/bin/env bash
# Run a study of many trials on this machine: scripts/sweep.sh [flags of python -m trainer.sweep]
# The first call makes the environment (see environment.sh). Paths in the flags are relative to where you stand.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples sweep
export TRAINER_COMMAND="${0%/*}/train-local.sh" # for the commands that trials propose
run_door trainer.sweep "$@"
