"""A server of the standard library, on a thread of its own for as long as it is needed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

_LOOKS = 0.05  # seconds between two looks whether it is to end


@contextmanager
def served(server: BaseServer) -> Iterator[None]:
    """Closed at the end."""
    thread = threading.Thread(target=server.serve_forever, args=(_LOOKS,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
