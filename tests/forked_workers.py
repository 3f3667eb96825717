"""Ray's workers for tests, forked from one process that has imported what they need.

A worker imports Ray, torch and more for two to six seconds of CPU, and tests start some hundred of them. Ray starts its
dashboard's modules in this way, but has no option for workers. Here, `sitecustomize` stops Ray's command for a worker
as soon as Python starts; a server, which the first such command starts, forks the worker with the command's arguments,
environment and output. The command waits for the end of its worker.
"""

import fcntl
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

# What most workers import. Not ray.data, ray.train or ray.serve: they define actors, for which Ray seeds its generator
# of ids, and all forks would draw the same ids. Without them, importing takes workers another 0.3 s.
MODULES = (
    "ray.util.state",
    "torch._dynamo",
    "mlflow",
    "sklearn.preprocessing",
    "rayreel.encoders.load",
    "rayreel.evaluation.exam",
    "rayreel.features.store",
    "rayreel.index.connect",
    "rayreel.media.decode",
    "rayreel.tower.save",
    "rayreel.training.batches",
    "rayreel.training.step",
    "rayreel.training.validation",
)
SECONDS_BETWEEN_CHECKS = 1.0
LONGEST_MESSAGE = 1 << 20


def continue_as_fork() -> None:
    """Run this command, one of Ray for a worker, as a fork of the server, and end when it ends.

    Returns if the worker's Python has to be started by a shell, as in another folder.
    """
    words = [word for word in sys.orig_argv[1:] if not word.endswith("/setup_worker.py")]
    context = next((word.partition("=")[2] for word in words if word.startswith("--serialized-runtime-env")), "{}")
    runtime_env = json.loads(context or "{}")
    if runtime_env.get("command_prefix") or runtime_env.get("py_executable", sys.executable) != sys.executable:
        return
    words = [word for word in words if not word.startswith(("--serialized-runtime-env", "--language"))]
    environment = os.environ | runtime_env.get("env_vars", {})
    message = {"argv": words, "environment": environment, "folder": str(Path.cwd()), "path": sys.path}
    with _connected() as server:
        socket.send_fds(server, [json.dumps(message).encode()], [1, 2])
        server.shutdown(socket.SHUT_WR)
        server.recv(1)  # closed at the worker's end
    os._exit(0)


def _connected() -> socket.socket:
    """Return a connection to this raylet's server; start it if this is the first command."""
    path = Path(os.environ["RAY_TMPDIR"]) / f"workers-{os.environ['RAY_RAYLET_PID']}"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(64)
            # With the arguments of a worker, so that there is space for the titles of workers.
            command = [sys.executable, __file__, str(listener.fileno()), *sys.orig_argv]
            subprocess.Popen(command, pass_fds=[listener.fileno()], start_new_session=True)
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(path))
    return server


def serve(listener: socket.socket) -> None:
    """Fork a worker for every connection, until the raylet ends."""
    for module in MODULES:
        import_module(module)
    assert not {"ray.data", "ray.serve", "ray.train"} & sys.modules.keys()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener.settimeout(SECONDS_BETWEEN_CHECKS)
    while Path("/proc", os.environ["RAY_RAYLET_PID"]).exists():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    run_worker(connection)


def run_worker(connection: socket.socket) -> None:
    """Become the worker that the connection describes."""
    import numpy as np

    os.setsid()  # Ray kills a worker's process group
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.setblocking(True)
    message, outputs, _, _ = socket.recv_fds(connection, LONGEST_MESSAGE, 2)
    while more := connection.recv(LONGEST_MESSAGE):
        message += more
    worker = json.loads(message)
    for descriptor, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, descriptor)
        os.close(output)
    os.environ.clear()
    os.environ.update(worker["environment"])
    os.chdir(worker["folder"])
    random.seed()  # otherwise, all workers draw the same numbers
    np.random.seed()
    sys.argv, sys.path = worker["argv"], worker["path"]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    number = int(sys.argv[1])
    serve(socket.socket(fileno=number))
