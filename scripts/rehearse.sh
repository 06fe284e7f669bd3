#!/usr/bin/env bash
# Rehearse a cluster on this machine: scripts/rehearse.sh [flags of python -m trainer.rehearse]
# The first call makes the environment (see environment.sh). Paths in the flags are relative to where you stand.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples
run_door trainer.rehearse "$@"
