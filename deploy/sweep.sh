#!/usr/bin/env bash
# Begins a sweep, or goes on with it where it was begun: one command for the first try and for every later one.
#
#   bash deploy/sweep.sh DIRECTORY-OR-URI SPACE [CONFIG] [OPTION]...
#
# Options are those of `asvp sweep` without --out and --resume.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash deploy/sweep.sh DIRECTORY SPACE [CONFIG] [OPTION]..." >&2
    exit 2
fi
directory=$1
shift
resume=()
# The marker is what asvp writes first into a sweep's directory; at a URI it is asvp that can look.
if [ -e "$directory/.asvp.json" ] || { [[ $directory == *://* ]] && asvp status "$directory" > /dev/null 2>&1; }; then
    resume=(--resume)
fi
# Not a child: signals reach asvp itself.
exec asvp sweep "$@" --out "$directory" "${resume[@]}"
