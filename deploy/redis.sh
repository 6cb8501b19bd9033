#!/usr/bin/env bash
# Install Debian's Redis server, if there is none. It is not started: `redis-server` does that.
set -euo pipefail
command -v redis-server >/dev/null && exit 0
command -v apt-get >/dev/null || { echo 'install redis-server (7 or newer) first' >&2; exit 2; }
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends redis-server
