"""Look up the versions of constraints.txt in the databases of known vulnerabilities, where one can be reached."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parents[1] / "constraints.txt"
AUDIT = [
    sys.executable,
    "-m",
    "pip_audit",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "--timeout",
    "10",
]


def main() -> int:
    """Print known vulnerabilities of the pinned versions. Return 1 if there are any, else 0."""
    for service in ("osv", "pypi"):
        if _answers(service):
            return _report(_look_up(service, PINNED), service)
    sys.stdout.write("Dependencies were NOT audited: no database of vulnerabilities can be reached from here.\n")
    return 0


def _answers(service: str) -> bool:
    """Check with one package whether the database answers: failing for all 200 would take a while."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(next(line for line in PINNED.read_text().splitlines() if line.startswith("numpy==")))
        file.flush()
        return bool(_look_up(service, Path(file.name)))


def _look_up(service: str, file: Path) -> list[dict[str, Any]]:
    """Return the packages that the service knows; none if it does not answer or is a mirror without its data."""
    words = [*AUDIT, "--requirement", str(file), "--vulnerability-service", service, "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        return []
    return [package for package in json.loads(done.stdout)["dependencies"] if "skip_reason" not in package]


def _report(packages: list[dict[str, Any]], service: str) -> int:
    known = [(package, fault) for package in packages for fault in package["vulns"]]
    for package, fault in known:
        fixed = ", ".join(fault["fix_versions"]) or "no version"
        sys.stdout.write(f"{package['name']} {package['version']}: {fault['id']}, fixed in {fixed}\n")
    sys.stdout.write(f"{len(packages)} packages audited with {service}: {len(known)} known vulnerabilities.\n")
    return bool(known)


if __name__ == "__main__":
    sys.exit(main())
