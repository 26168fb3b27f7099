"""A configuration beside the running process: what is asked, and what differs. As ``messages``."""

from typing import Any

from pydantic import TypeAdapter

from proxy.admin.messages import AdminRequest, Message, Operation


class CompareRequest(AdminRequest):
    """``content``: a configuration file as text; ``file``: its absolute name, from whose folder relative ones are
    meant."""

    content: str
    file: str


class Difference(Message):
    """One setting, by its path. ``running`` is what the process goes by, ``written`` what the file says; None where
    there is none, and both where a file that is named holds something else."""

    setting: str
    running: Any = None
    written: Any = None
    restart: bool  # it waits for one; otherwise a reload takes it


class Comparison(Message):
    """``refused``: the faults that a reload would find, empty where there are none."""

    refused: str = ""
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()


COMPARE = Operation("compare", CompareRequest, TypeAdapter(Comparison), largest=8 << 20)
