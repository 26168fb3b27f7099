"""Which files and functions of ``proxy/`` run, in all threads, while somebody looks."""

import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

_PARTS = frozenset({"<module>", "<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"})  # of what they stand in
ROOT = f"{Path(__file__).resolve().parents[2] / 'proxy'}/"


class Function(NamedTuple):
    file: str  # below ``proxy/``
    name: str
    line: int


class Recorder:
    """``install`` before the first thread is made; threads that exist already are not seen."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    def install(self) -> None:
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def taken(self) -> set[Function]:
        """What ran since the last call."""
        codes, self._codes = self._codes, set()
        return {
            Function(code.co_filename.removeprefix(ROOT), code.co_qualname, code.co_firstlineno)
            for code in codes
            if code.co_filename.startswith(ROOT) and code.co_name not in _PARTS
        }

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self._codes.add(frame.f_code)
