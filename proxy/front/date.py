"""The Date header (RFC 9110 6.6.1), made once a second and not once a reply."""

import time
from email.utils import formatdate


class DateHeader:
    """``line`` is a whole line, always of ``LENGTH`` bytes. By the wall clock, since it tells others the time."""

    LENGTH = 37

    def __init__(self) -> None:
        self.line = b""
        self.refresh()

    def refresh(self) -> None:
        self.line = f"Date: {formatdate(time.time(), usegmt=True)}\r\n".encode()
