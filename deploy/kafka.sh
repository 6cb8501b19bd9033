#!/usr/bin/env bash
# A Kafka broker of one node, on loopback only, for local use and tests; it keeps no secrets and asks for none.
#   deploy/kafka.sh install                  fetch its jars into .venv/kafka (hashes in deploy/kafka.lock)
#   deploy/kafka.sh run [PORT [PORT2 [DIR]]] run it until it is interrupted: clients at PORT (9092), itself at PORT2
#                                            (9093), data in DIR (.venv/kafka/data)
# Needs the set-up of the project: its JDK, and the resolver and the Scala of its Spark. Exit codes as of deploy/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH PYTHONHOME PYSPARK_SUBMIT_ARGS
. deploy/jars.sh

PACKAGES=org.apache.kafka:kafka_2.13:4.1.1,org.slf4j:slf4j-simple:1.7.36
VENV=$PWD/.venv
HOME_DIR=$VENV/kafka

JAVA_HOME=$(cat "$VENV/java_home" 2>/dev/null) || { echo 'kafka: run `make setup` first' >&2; exit 2; }
export JAVA_HOME
SPARK=$("$VENV/bin/python" -c 'import importlib.util as u; print(u.find_spec("pyspark").submodule_search_locations[0])')

is_installed() { check_jars "$HOME_DIR/jars" deploy/kafka.lock >/dev/null 2>&1; }

install() {
    is_installed && return
    echo "  Kafka's jars"
    rm -rf "$HOME_DIR/jars"
    mkdir -p "$HOME_DIR"
    if ! fetch_jars "$HOME_DIR" "$PACKAGES" >"$HOME_DIR/install.log" 2>&1; then
        tail -n 20 "$HOME_DIR/install.log" >&2
        echo 'kafka: its jars could not be fetched; all that was said is in .venv/kafka/install.log' >&2
        exit 3
    fi
    is_installed || { echo 'kafka: the fetched jars are not those of deploy/kafka.lock' >&2; exit 3; }
}

run() {
    local port=${1:-9092} own=${2:-9093} data=${3:-$HOME_DIR/data} classes scala
    is_installed || { echo 'kafka: run `deploy/kafka.sh install` first' >&2; exit 2; }
    mkdir -p "$data"
    cat >"$data/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$own
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$own
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$data/log
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
END
    scala=$(echo "$SPARK"/jars/scala-library-*.jar)
    classes="$HOME_DIR/jars/*:$scala"
    set -- "$JAVA_HOME/bin/java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$classes"
    [ -e "$data/log/meta.properties" ] || # one cluster, always the same name
        "$@" kafka.tools.StorageTool format -t bWVkYWxsaW9uLWxvY2FsMQ -c "$data/server.properties" >/dev/null
    echo "  Kafka starts on 127.0.0.1:$port; interrupt it to stop."
    exec "$@" kafka.Kafka "$data/server.properties"
}

case "${1:-}" in
install) install ;;
run) shift; run "$@" ;;
*) sed -n '2,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
