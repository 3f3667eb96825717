"""Milvus Lite: a patched database and a server of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2
from pymilvus.grpc_gen.milvus_pb2_grpc import add_MilvusServiceServicer_to_server

from rayreel.compat.milvus_collection import make_collections_safe
from rayreel.compat.milvus_search import keep_masks, read_used_columns, search_few_exactly

MAX_MESSAGE_BYTES = 256 * 1024 * 1024


def open_database(data_dir: str) -> MilvusLite:
    """Patch Milvus Lite in this process, open a directory and load every collection with its index.

    Milvus Lite 3.2.2 opens collections on their first request, without a lock (two first requests create two
    `Collection` objects for one directory) and unloaded (a search after a restart fails). The loading can go once it
    does both itself; for the patches, see each of them.
    """
    make_collections_safe()
    read_used_columns()
    keep_masks()
    search_few_exactly()
    database = MilvusLite(data_dir)
    for name in database.list_collections():
        database.get_collection(name).load()
    return database


def serve(database: MilvusLite, address: str) -> Any:  # noqa: ANN401 - gRPC has no types
    """Start and return a gRPC server at `address` (host:port).

    Not Milvus Lite's `start_server_in_thread`, which leaves SO_REUSEPORT on, so that two servers could share a port and
    its requests. Can go once that turns it off, together with `Servicer`.
    """
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # pymilvus pings an idle connection every 10 s; by default gRPC would close it for pinging too often.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=10), options=options)
    add_MilvusServiceServicer_to_server(Servicer(database), server)
    server.add_insecure_port(address)
    server.start()
    return server


class Servicer(MilvusServicer):  # type: ignore[misc]
    """Milvus Lite's service, plus a call that pymilvus makes for an index.

    Without it, Milvus Lite 3.2.2 logs a traceback. Can go once it has the call.
    """

    def AllocTimestamp(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        """Return the time in Milvus' format: milliseconds, then 18 bits for a counter."""
        return milvus_pb2.AllocTimestampResponse(timestamp=int(time.time() * 1000) << 18)
