"""Clients that fit into what a process may open."""

import pytest

from proxy.core.descriptors import connections_within, descriptors_for


@pytest.mark.parametrize("connections", [1, 7, 256, 4096, 1_000_000])
def test_what_so_many_need_is_what_lets_so_many_in(connections: int) -> None:
    assert connections_within(descriptors_for(connections), connections) == connections
    assert connections_within(descriptors_for(connections) - 1, connections) == max(1, connections - 1)


def test_without_a_limit_all_are_let_in_and_with_hardly_any_one() -> None:
    assert connections_within(None, 4096) == 4096
    assert connections_within(20, 4096) == 1
