# shellcheck shell=bash
# What the scripts of this folder share: a Python that fits and a virtual environment that is whole. To be sourced.
#
#   prepare_environment EXTRA...   sets venv_python; installs only what is missing or changed, else costs milliseconds
#
# The environment is .venv in the project root, or the folder that TRAINER_VENV names. Its records, in .trainer/ there:
#   place         where it was made: a virtual environment does not survive being moved
#   stamp-EXTRA   checksums and paths of setup.py and constraints.txt as they were when EXTRA was installed
#   unfinished    stands there while pip is at work: what a killed or failed pip leaves is not trusted
#   install.log   what pip said last
#   lock          held, through descriptor 9, by the one call that installs
# Written for bash 3.2, which macOS still ships.

project_root="$(CDPATH='' cd -- "${BASH_SOURCE[0]%/*}/.." && pwd -P)"

fail() { # EXIT_CODE SENTENCE
  printf '%s\n' "$2" >&2
  exit "$1"
}

# Candidates for Python $1 (such as 3.11), one a line, the likeliest first; whether they run is not known yet.
list_pythons() {
  local uv folder
  type -aP "python$1" python3 python || true
  for folder in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
    ls -d -- "$folder/versions/$1"*/bin/python 2>/dev/null || true
  done
  for uv in "$(type -P uv || true)" "${HOME:-}/.local/bin/uv" "${HOME:-}/.cargo/bin/uv"; do
    if [ -x "$uv" ]; then UV_PYTHON_DOWNLOADS=never "$uv" python find "$1" 2>/dev/null || true; fi
  done
}

# The real path of interpreter $1 if it runs, is Python $2, and can make an environment with pip in it. A shim of pyenv
# may exist and fail; Debian's python3 comes without ensurepip. Real: a link may point to another version tomorrow.
probe_python() {
  "$1" -I -c '
import ensurepip, os, sys, venv
if "%d.%d" % sys.version_info[:2] != sys.argv[1]:
    sys.exit(1)
print(os.path.realpath(sys.executable))' "$2" 2>/dev/null </dev/null
}

find_python() {
  local version candidate found
  for version in 3.11 3.10; do
    while IFS= read -r candidate; do
      if found="$(probe_python "$candidate" "$version")" && [ -x "$found" ]; then
        printf '%s\n' "$found"
        return 0
      fi
    done < <(list_pythons "$version")
  done
  return 1
}

# Put the text of file $1 into `text`, without a subprocess: this is on the way of every call.
read_record() {
  text=""
  [ ! -f "$1" ] || IFS= read -r -d '' text <"$1" || true
}

# Whether the environment is whole and stands where it was made (-ef: however that place is spelled).
is_in_place() {
  local text
  read_record "$records/place"
  [ ! -e "$records/unfinished" ] && [ -x "$venv_python" ] && [ "$text" -ef "$venv" ]
}

is_prepared() { # EXTRA...
  local extra text
  is_in_place || return 1
  for extra in "$@"; do
    read_record "$records/stamp-$extra"
    [ "$text" = "$wanted" ] || return 1
  done
}

# The kernel drops this lock with the last process of an installation, however that ends. Python asks for it because
# macOS has no flock command; a lock belongs to the open file, so it stays with this shell when Python is gone.
take_lock() { # PYTHON
  exec 9>>"$records/lock"
  "$1" -I -c '
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("Waiting for another installation to end ...", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)'
}

make_venv() { # PYTHON
  rm -f -- "$records"/place "$records"/stamp-* &&
    find "$venv/" -mindepth 1 -maxdepth 1 ! -name .trainer -exec rm -rf -- {} + &&
    "$1" -I -m venv -- "$(CDPATH='' cd -- "$venv" && pwd -P)" && # the real path: venv refuses a link to a folder
    printf '%s' "$venv" >"$records/place"
}

# -I: neither the folder the user stands in nor his PYTHONPATH has a say. His pip configuration has, save for `user`, which
# cannot work in a virtual environment, and `quiet`, which would hide the line that pip_changed_something looks for.
run_pip() { # EXTRA...
  local IFS=,
  cd -- "$project_root" &&
    PIP_USER=0 PIP_QUIET=0 "$venv_python" -I -u -m pip install -c constraints.txt -e ".[$*]" </dev/null
}

# Before it says this, pip only downloads and builds: an installation that failed so far took nothing away.
pip_changed_something() {
  grep -q '^Installing collected packages' "$records/install.log" 2>/dev/null
}

# What is missing or changed is pip's business, in a sound environment; anything else is made anew.
fill_environment() { # PYTHON EXTRA...
  local python="$1"
  shift
  if ! is_in_place || ! "$venv_python" -I -c 'import pip'; then
    make_venv "$python" || return
  fi
  : >"$records/unfinished" && run_pip "$@"
}

install_environment() ( # EXTRA...; a subshell, so that the lock ends with it
  python="$(find_python)" || fail 2 "No suitable Python was found: this project needs Python 3.11 or 3.10 with its venv \
and pip, which 'pyenv install 3.11', 'uv python install 3.11' or your system's packages (such as python3.11 and \
python3.11-venv) provide."
  if [ ! -d "$records" ] && [ -n "$(ls -A -- "$venv" 2>/dev/null)" ]; then
    fail 2 "$venv was not made by these scripts: move it away, or set TRAINER_VENV to a folder that they may fill."
  fi
  mkdir -p -- "$records"
  take_lock "$python"
  pip_changed_something || rm -f -- "$records/unfinished"
  if is_prepared "$@"; then exit 0; fi
  printf 'Installing into %s (once; a few minutes) ...\n' "$venv" >&2
  trap 'exit 130' INT
  trap 'exit 143' TERM
  fill_environment "$python" "$@" >"$records/install.log" 2>&1 || {
    cat -- "$records/install.log" >&2
    fail 1 "The installation into $venv failed for the reason above."
  }
  for extra in "$@"; do printf '%s' "$wanted" >"$records/stamp-$extra"; done
  rm -f -- "$records/unfinished"
)

prepare_environment() { # EXTRA...
  wanted="$(cksum "$project_root/setup.py" "$project_root/constraints.txt")"
  venv="${TRAINER_VENV:-$project_root/.venv}"
  case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac
  records="$venv/.trainer"
  venv_python="$venv/bin/python"
  is_prepared "$@" || install_environment "$@"
}

# Become `python -m MODULE ARGUMENTS...`: exec, so that signals reach Python and its exit code is the script's.
run_door() { # MODULE ARGUMENTS...
  local other
  # `python -m` looks into the current folder first, and many a project of this field has a folder called trainer.
  for other in ./trainer ./trainer.py; do
    if [ -e "$other" ] && [ ! "$other" -ef "$project_root/trainer" ]; then
      fail 2 "Python would run $other of this folder in place of $project_root/trainer: start from another folder."
    fi
  done
  exec "$venv_python" -m "$@"
}
