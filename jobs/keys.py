"""`rayreel keys` as a script, for `ray job submit … -- python jobs/keys.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("keys")
