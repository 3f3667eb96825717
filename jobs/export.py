"""`rayreel export` as a script, for `ray job submit … -- python jobs/export.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("export")
