"""Python imports this module when it starts, if this folder is in PYTHONPATH: Ray's workers continue as forks."""

import sys

if "".join(sys.orig_argv[1:2]).endswith(("/workers/default_worker.py", "/workers/setup_worker.py")):
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1]))
    from forked_workers import continue_as_fork

    sys.path.pop()
    continue_as_fork()
