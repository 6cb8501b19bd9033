"""plain_spark with thirty-day users as a running sum of who comes and who leaves."""

from benchmarks.peers.plain_spark import main

if __name__ == "__main__":
    main(sweep=True)
