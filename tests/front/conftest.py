"""The front is looked at through the whole house, on the loop that it runs on."""

from tests.scenarios.conftest import (
    clock,
    house,
    nothing_stays,
    pytest_asyncio_loop_factories,
    rules,
    some_bytes,
    upstream,
)

__all__ = ["clock", "house", "nothing_stays", "pytest_asyncio_loop_factories", "rules", "some_bytes", "upstream"]
