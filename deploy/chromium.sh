#!/usr/bin/env bash
# Chromium and its driver from the distribution's packages, for the tests of the report.
#   deploy/chromium.sh install   (Debian and Ubuntu; as root or with password-less sudo)
# Exit codes as of deploy/setup.sh: 0 done, 2 not possible on this machine, 3 the packages could not be had.
set -euo pipefail

command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
command -v apt-get >/dev/null || { echo 'chromium: no apt-get here: install chromium and chromedriver by hand' >&2; exit 2; }
AS_ROOT=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || { echo 'chromium: root is needed: sudo apt-get install chromium chromium-driver' >&2; exit 2; }
    AS_ROOT=(sudo -n)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo '  Chromium'
if ! { "${AS_ROOT[@]}" apt-get update && DEBIAN_FRONTEND=noninteractive "${AS_ROOT[@]}" apt-get install -y \
    --no-install-recommends chromium chromium-driver fonts-dejavu-core; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo 'chromium: the packages could not be installed' >&2
    exit 3
fi
