# Read by Spark's start scripts, after the paths that deploy/setup.sh writes above.
export SPARK_LOCAL_IP=127.0.0.1

# Spark asks Java for an incubating module that only its machine-learning library uses, and Java warns on stderr about
# it on every start; no option silences that. The start script ends in `exec java ...`, so the request is taken out here.
# Not exported (Spark reads this file with `set -a`): it is meant for that one script.
set +a
exec() {
    local argument kept=()
    for argument in "$@"; do
        [ "$argument" = --add-modules=jdk.incubator.vector ] || kept+=("$argument")
    done
    builtin exec "${kept[@]}"
}
