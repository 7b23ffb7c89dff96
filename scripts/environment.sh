# Makes .venv and installs what is pinned in the given requirements file, when it is not there yet.
# Sourced by the other scripts, from the root of the repository:  . scripts/environment.sh; set_up runtime|dev|fuzz

set -eu

VERSIONS="3.13 3.12 3.11" # those that pyproject.toml names, in the order in which they are preferred

fail() {
    echo "error: $1" >&2
    exit 2
}

find_python() { # the one that PYTHON names, and no other where it names one
    # shellcheck disable=SC2046,SC2086 # several words on purpose
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- $(printf 'python%s ' $VERSIONS) python3 python; fi
    for candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

set_up() { # set_up runtime|dev|fuzz [DIRECTORY]
    wanted=requirements/$1.txt
    venv=${2:-.venv}
    if ! is_usable; then
        python=$(find_python) || fail "Python 3.11 or newer is needed; install it, or name it: PYTHON=/path/to/python3"
        echo "making $venv with $("$python" --version)" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv" || fail "$python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
    fi
    # The stamp names what was installed, and where: an environment that was moved is made anew.
    stamp="$(cat "$wanted" pyproject.toml | cksum) $(pwd)"
    if [ "$(cat "$venv/installed-$1" 2>/dev/null)" != "$stamp" ]; then
        echo "installing what $wanted pins (once; a minute or so)" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$wanted" ||
            fail "the installation failed; its message stands above. Behind a proxy set HTTPS_PROXY, or PIP_INDEX_URL for a mirror"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
            fail "the project itself could not be installed; the message stands above"
        echo "$stamp" >"$venv/installed-$1"
    fi
}

is_usable() { # $venv works, and is of the Python that PYTHON names where it names one
    made_with=$(version_of "$venv/bin/python") && [ "$(version_of "${PYTHON:-$venv/bin/python}")" = "$made_with" ]
}

version_of() {
    "$1" -c 'import sys; print(sys.version)' 2>/dev/null
}
