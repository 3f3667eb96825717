"""Milvus Lite as a server in its own process: python tests/milvus_alone.py FOLDER PORT"""

import signal
import sys

from rayreel.index.embedded import MilvusLiteOwner

if __name__ == "__main__":
    owner = MilvusLiteOwner(sys.argv[1], int(sys.argv[2]))
    signal.sigwait({signal.SIGTERM})
    owner.close()
