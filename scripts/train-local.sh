#!/usr/bin/env bash
# Train on this machine: scripts/train-local.sh [flags of python -m trainer.task]
# The first call makes the environment (see environment.sh). Paths in the flags are relative to where you stand.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment samples
# `python -m` looks into the current folder first, and many a project of this field has a folder called trainer.
for other in ./trainer ./trainer.py; do
  if [ -e "$other" ] && [ ! "$other" -ef "$project_root/trainer" ]; then
    fail 2 "Python would run $other of this folder in place of $project_root/trainer: start from another folder."
  fi
done
export TRAINER_COMMAND="$0" # for the commands that a job proposes
exec "$venv_python" -m trainer.task "$@" # exec: signals reach Python, and its exit code is ours
