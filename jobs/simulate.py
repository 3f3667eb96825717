"""`rayreel simulate` as a script, for `ray job submit … -- python jobs/simulate.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("simulate")
