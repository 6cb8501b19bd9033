"""Nothing but the start: a JVM and a Spark session as the pipeline's."""

from pipelines.settings import load_settings
from pipelines.spark import build_session

if __name__ == "__main__":
    build_session(load_settings("local").spark).stop()
