"""Which key a request needs."""

from rayreel.access.keys import Scope


def scope_of(method: str, path: str) -> Scope | None:
    """What a key must allow for a request; None where no key is needed. What is not known needs the most."""
    part, _, rest = path.strip("/").removeprefix("v1/").partition("/")
    # MLflow signs what its webhook sends, and knows no keys.
    signed = (method, path) == ("POST", "/v1/mlflow/webhook")
    if signed or not path.startswith("/v1/"):
        return None if signed or method in {"GET", "HEAD"} else Scope.ADMIN
    match method, part:
        case ("GET" | "HEAD", "jobs"):
            return Scope.WRITE  # their output tells of catalogs and storage
        case ("GET" | "HEAD", _) | ("POST", "recommend" | "embed"):
            return Scope.READ
        case "POST", "videos":
            return Scope.WRITE
        case "DELETE", "videos" | "jobs" if rest:
            return Scope.WRITE
    return Scope.ADMIN
