#!/usr/bin/env bash
# A PostgreSQL server of one's own on loopback, for local use and tests. It asks for the password in DIR/password.
#   deploy/postgres.sh install           install the system's PostgreSQL where there is none
#   deploy/postgres.sh run [PORT [DIR]]  run a server until it is interrupted: at PORT (5432), its data in DIR
# A server does not run as root: root starts it as the user postgres, with data in that user's home. Exit codes as of
# deploy/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# The folder of initdb and postgres, which Debian keeps off the PATH.
find_binaries() {
    local folder
    for folder in "$(pg_config --bindir 2>/dev/null || true)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /usr/bin; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && { echo "$folder"; return; }
    done
    return 1
}

install() {
    find_binaries >/dev/null && return
    echo "  PostgreSQL"
    if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
        as_root apt-get update -qq >/dev/null 2>&1 || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql \
            >/dev/null 2>&1 </dev/null || true
    elif command -v dnf >/dev/null && as_root true 2>/dev/null; then
        as_root dnf install -y -q postgresql-server >/dev/null 2>&1 </dev/null || true
    elif command -v brew >/dev/null && [ "$(id -u)" != 0 ]; then
        brew install --quiet postgresql@17 >/dev/null 2>&1 </dev/null || true
    fi
    find_binaries >/dev/null || { echo 'postgres: no PostgreSQL found: install one (Debian and Ubuntu: postgresql)' >&2; exit 2; }
}

run() {
    local port=${1:-5432} data=${2:-} binaries
    local -a as_server=()
    binaries=$(find_binaries) || { echo 'postgres: run `deploy/postgres.sh install` first' >&2; exit 2; }
    if [ "$(id -u)" = 0 ]; then
        as_server=(setpriv --reuid=postgres --regid=postgres --init-groups --reset-env)
        data=${data:-$(getent passwd postgres | cut -d: -f6)/medallion}
    fi
    data=${data:-$PWD/.venv/postgres}
    mkdir -p "$data"
    [ "$(id -u)" != 0 ] || chown postgres "$data"
    cd "$data"
    if [ ! -e "$data/data/PG_VERSION" ]; then
        "${as_server[@]}" sh -c 'umask 077; head -c 24 /dev/urandom | od -An -tx1 | tr -d " \n" >"$1"' - "$data/password"
        "${as_server[@]}" "$binaries/initdb" -D "$data/data" -U postgres -A scram-sha-256 --pwfile="$data/password" \
            -E UTF8 --locale=C >"$data.log" 2>&1 || { tail -n 20 "$data.log" >&2; exit 3; }
        rm -f "$data.log"
    fi
    echo "  PostgreSQL starts; interrupt it to stop. Its URL:"
    echo "  postgresql://postgres:$(cat "$data/password")@127.0.0.1:$port/postgres"
    exec "${as_server[@]}" "$binaries/postgres" -D "$data/data" -h 127.0.0.1 -p "$port" -k "$data"
}

case "${1:-}" in
install) install ;;
run) shift; run "$@" ;;
*) sed -n '2,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
