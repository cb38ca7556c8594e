#!/bin/sh
# The SHA-256 of the file that an item names.
set -eu
. "$(dirname "$0")/forkmap-worker.sh"

digest() {
  line=$(sha256sum <"$1") # Not in a pipe, which would lose its status.
  printf '%s' "${line%% *}"
}

serve digest
