# Sourced by the other scripts: finds a Python and runs the named script with it.  They set $script to their own path,
# after all symbolic links.
#
# launch NAME ARGUMENTS...   runs scripts/NAME

launch() {
    root=$(CDPATH='' cd -- "$(dirname -- "$script")/.." && pwd -P) || exit 1
    name=$1
    shift
    python=$root/.venv/bin/python
    if [ ! -x "$python" ]; then
        find_python
    fi
    # Without site-packages and variables meant for other programs; the script needs only the standard library.
    exec "$python" -I -S "$root/scripts/$name" "$@"
}

find_python() {
    for python in python3 python3.13 python3.12 python3.11 python "$HOME"/.pyenv/versions/3.1[123].*/bin/python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            return
        fi
    done
    echo 'Python 3.11, 3.12 or 3.13 is needed, with its module venv, and none was found on PATH.' >&2
    echo 'Debian and Ubuntu: apt install python3-venv.  macOS: brew install python@3.13.' >&2
    exit 1
}
