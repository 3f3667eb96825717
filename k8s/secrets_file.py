"""Generate the secrets of an overlay: python k8s/secrets_file.py local | kubectl apply -f -."""

import secrets as randomness
import sys
from typing import Annotated, Any

import typer
import yaml

Secret = dict[str, Any]
NAMESPACE = "rayreel"
# Certificates come from cert-manager or from your certificate authority; see k8s/README.md.
CERTIFICATES = {
    "local": set[str](),
    "gpu": set[str](),
    "production": {"rayreel/rayreel-milvus-ca", "rayreel-milvus/milvus-tls", "rayreel/rayreel-tls"},
}
CHANGE = "CHANGE"
# Each role has its own credential: only the service can access API keys, and MLflow can access only its artifacts.
STORAGE_ROLES = ("serve", "jobs", "mlflow")


def secrets(overlay: str) -> list[Secret]:
    """Return Secret objects with new random values. In production, object store keys and Milvus' token stay CHANGE."""
    inside = overlay != "production"
    milvus, postgres = word(), word()
    made = [
        secret("rayreel-redis", password=word()),
        *(storage(role, inside=inside) for role in STORAGE_ROLES),
        secret("rayreel-milvus", MILVUS_TOKEN=f"root:{milvus if inside else CHANGE}"),
        secret("rayreel-mlflow-login", MLFLOW_TRACKING_USERNAME="rayreel", MLFLOW_TRACKING_PASSWORD=word()),
        secret("rayreel-mlflow-server", **{"session-key": word()}),
    ]
    if inside:
        made.append(secret("rayreel-milvus-root", password=milvus))
        made.append(secret("rayreel-minio-root", user="root", password=word()))
    else:
        made.append(secret("milvus-storage", "rayreel-milvus", accesskey=CHANGE, secretkey=CHANGE))
    if overlay != "local":
        uri = f"postgresql+psycopg2://mlflow:{postgres}@postgres:5432/mlflow"
        made.append(secret("rayreel-postgres", password=postgres))
        made.append(secret("rayreel-mlflow", **{"backend-store-uri": uri}))
    return made


def storage(role: str, *, inside: bool) -> Secret:
    """Return a role's credential for the object store. `components/minio/policies` has its permissions."""
    name, key = (f"rayreel-{role}", word()) if inside else (CHANGE, CHANGE)
    return secret(f"rayreel-storage-{role}", AWS_ACCESS_KEY_ID=name, AWS_SECRET_ACCESS_KEY=key)


def word() -> str:
    """Return a password that needs no quoting in a URI."""
    return randomness.token_urlsafe(24)


def secret(name: str, namespace: str = NAMESPACE, **values: str) -> Secret:
    """Return a Secret object."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}


def names(overlay: str) -> list[str]:
    """Return NAMESPACE/NAME of all secrets of an overlay, certificates included."""
    made = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in secrets(overlay)]
    return sorted({*made, *CERTIFICATES[overlay]})


def main(
    overlay: Annotated[str, typer.Argument(help=f"One of {', '.join(CERTIFICATES)}.")],
    only_names: Annotated[bool, typer.Option("--names", help="Print NAMESPACE/NAME of each secret instead.")] = False,
) -> None:
    """Print an overlay's secrets with new random values.

    Apply them once: stores keep the first passwords, which new secrets would not match.
    """
    if overlay not in CERTIFICATES:
        raise typer.BadParameter(f"{overlay!r} is not one of {', '.join(CERTIFICATES)}")
    if only_names:
        typer.echo("\n".join(names(overlay)))
    else:
        yaml.safe_dump_all(secrets(overlay), sys.stdout, sort_keys=False)


if __name__ == "__main__":
    typer.run(main)
