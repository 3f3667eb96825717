"""`rayreel ingest` as a script, for `ray job submit … -- python jobs/ingest.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("ingest")
