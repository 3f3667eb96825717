"""`rayreel experiment` as a script, for `ray job submit … -- python jobs/experiment.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("experiment")
