# Read by Spark's start scripts, after the paths that deploy/setup.sh writes above.
export SPARK_LOCAL_IP=127.0.0.1

# Spark's start script ends in `exec java ...`. Taken out here of what it asks of Java: a module and a package that Spark
# itself does without and that the Java of this project lacks (without the one it does not start, of the other it warns
# each time); and the conf folder, since Java remembers no run with a folder that holds files among its classes.
# Not exported (Spark reads this file with `set -a`): it is meant for that one script.
set +a
exec() {
    local argument kept=()
    for argument in "$@"; do
        argument=":$argument"
        argument=${argument//":$SPARK_HOME/conf/:"/:}
        argument=${argument#:}
        case $argument in
        --add-modules=jdk.incubator.vector | --add-opens=java.base/sun.security.action=*) ;;
        *) kept+=("$argument") ;;
        esac
    done
    builtin exec "${kept[@]}"
}
