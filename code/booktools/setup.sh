#!/bin/sh
# Makes the virtual environment that every verb of the Makefile runs in:
#     sh code/booktools/setup.sh PYTHON VENV [TORCH [newest]]
# TORCH=cpu takes PyTorch's build without CUDA. The versions are those pinned in
# requirements.txt, or the newest that pyproject.toml admits. All or nothing:
# whatever goes wrong, no half-made environment stays behind, and one sentence
# says why.
set -u
python=$1 venv=$2 torch=${3:-} which=${4:-pinned}

fail() {
    echo "setup: $1" >&2
    exit 1
}

# What a user has set so that packages go elsewhere than into the environment that pip
# runs in. A configuration file can say it too; variables go before it where they can, and
# else it is told at the end.
unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONWARNINGS VIRTUAL_ENV
unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_NO_DEPS PIP_EDITABLE
unset PIP_REQUIREMENT PIP_REQUIRE_HASHES PIP_NO_BUILD_ISOLATION PIP_ISOLATED PIP_LOG
unset PIP_IGNORE_INSTALLED PIP_NO_CLEAN PIP_REPORT PIP_SRC PIP_QUIET PIP_VERBOSE
unset UV_TARGET UV_PREFIX UV_SYSTEM_PYTHON UV_PYTHON UV_NO_CONFIG UV_PROJECT_ENVIRONMENT
export PIP_USER=0 PIP_DRY_RUN=0 PIP_REQUIRE_VIRTUALENV=0

command -v "$python" >/dev/null 2>&1 || fail \
    "there is no '$python' here; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "'$python' is $("$python" --version 2>&1); the book needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 ..."
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail \
    "'$python' comes without the venv module; install it (Debian and Ubuntu: the package python3-venv)"
if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
    fail "'$venv' is in the way and is not a virtual environment; move it, or name another: make VENV=... ..."
fi

log=$(mktemp) || fail "cannot write a temporary file"
made=no
clean_up() {
    rm -f "$log"
    [ "$made" = yes ] || rm -rf "$venv"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Settings of pip in force, by name, but for those of how the network is reached.
told() {
    "$venv_python" -m pip --disable-pip-version-check config list 2>/dev/null |
        sed -n "s/^:env:\.\(.*\)=.*/\1/p; s/^[a-z]*\.\(.*\)=.*/\1/p" |
        grep -v 'config-file\|cert\|timeout\|version-check\|cache-dir\|proxy\|retries\|^user$\|^dry-run$\|virtualenv' |
        sort -u | tr '\n' ' '
}

install() {
    "$venv_python" -m pip --disable-pip-version-check --retries 2 install "$@" >"$log" 2>&1 && return
    grep -i 'error' "$log" | tail -n 3 >&2
    settings=$(told)
    fail "the packages could not be installed (is there a network?${settings:+ pip is told: $settings}); nothing was left behind, try again"
}

echo "setup: making $venv with $("$python" --version 2>&1); the first time takes some minutes" >&2
rm -rf "$venv"
"$python" -m venv "$venv" >"$log" 2>&1 || fail "could not make $venv: $(tail -n 1 "$log")"
venv_python=$venv/bin/python
[ -x "$venv_python" ] || venv_python=$venv/Scripts/python

if [ "$which" = pinned ]; then
    uv=$(grep '^uv==' requirements.txt) pytorch=$(grep '^torch==' requirements.txt)
else
    uv=uv pytorch=torch
fi
if [ -n "$torch" ]; then
    # uv knows PyTorch's own indexes by name, pip only by address.
    install "$uv"
    "$venv_python" -m uv pip install --quiet --python "$venv_python" \
        --torch-backend "$torch" "$pytorch" >"$log" 2>&1 || {
        grep -i 'error\|caused' "$log" | tail -n 3 >&2
        fail "PyTorch's build '$torch' could not be installed (is there a network?); nothing was left behind, try again"
    }
fi
if [ "$which" = pinned ]; then
    install --requirement requirements.txt
    install --no-deps --no-build-isolation --editable .
else
    install --editable '.[setup,book,lab,test,cluster]'
fi
[ -n "$("$venv_python" -m pip --disable-pip-version-check freeze)" ] || fail \
    "pip has put the packages elsewhere than into $venv, for it is told: $(told); take 'target', 'prefix' and 'root' out of its configuration file"
pwd -P >"$venv/ready" || fail "cannot write $venv/ready"
made=yes
