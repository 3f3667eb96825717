"""`rayreel enrich` as a script, for `ray job submit … -- python jobs/enrich.py`."""

from rayreel.cli.main import run_script

if __name__ == "__main__":
    run_script("enrich")
