"""Key scopes of requests."""

from rayreel.access.keys import Scope


def scope_of(method: str, path: str) -> Scope | None:
    """Return the scope that a request needs; None if it needs no key. Unknown requests need ADMIN."""
    part, _, rest = path.strip("/").removeprefix("v1/").partition("/")
    # MLflow signs the requests of its webhook and cannot send a key.
    signed = (method, path) == ("POST", "/v1/mlflow/webhook")
    if signed or not path.startswith("/v1/"):
        return None if signed or method in {"GET", "HEAD"} else Scope.ADMIN
    match method, part:
        case ("GET" | "HEAD", "experiments"):
            return Scope.ADMIN
        # The output of `jobs` and others contains names of catalogs and storage, and what people did.
        case ("GET" | "HEAD", "jobs" | "operations" | "users") | ("POST", "videos" | "events"):
            return Scope.WRITE
        case ("GET" | "HEAD", _) | ("POST", "recommend" | "embed"):
            return Scope.READ
        case "DELETE", "videos" | "jobs" if rest:
            return Scope.WRITE
    return Scope.ADMIN
