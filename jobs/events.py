"""`rayreel events` as a script, for `ray job submit … -- python jobs/events.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("events")
