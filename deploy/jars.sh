# Sourced by deploy/setup.sh and deploy/kafka.sh: jars from Maven Central, each checked against a lock of hashes.
# Expects VENV (the virtual environment), SPARK (its Spark) and JAVA_HOME.

check_jars() { # $1: folder of the jars, $2: lock
    [ -d "$1" ] && (cd "$1" && if command -v sha256sum >/dev/null; then sha256sum -c -; else shasum -a 256 -c -; fi) <"$2"
}

# Put packages and what they need into `jars` of a folder: by the resolver in Spark, which runs an empty program then.
fetch_jars() { # $1: folder, $2: packages, others: options of spark-submit
    local folder=$1 packages=$2 trust
    shift 2
    mkdir -p "$folder"
    echo pass >"$folder/nothing.py"
    cp deploy/spark/spark-env.sh "$folder/"
    trust=$("$VENV/bin/python" -W ignore deploy/trust.py "$folder/trust.p12")
    # A Maven cache in the user's home that holds a description without its jar makes the resolver fail.
    SPARK_CONF_DIR="$folder" PYSPARK_PYTHON="$VENV/bin/python" "$SPARK/bin/spark-submit" \
        --packages "$packages" "$@" --conf "spark.jars.ivy=$folder" \
        --driver-java-options "-Duser.home=$folder $trust" "$folder/nothing.py" &&
        rm -rf "$folder/cache"
}
