"""A few buffers in turn, which grow with what comes."""

import threading

from proxy.cache.intake import Buffers

MIB = 1 << 20


def nothing() -> None:
    return


def test_a_buffer_that_is_filled_makes_the_next_one_larger_up_to_a_mebibyte() -> None:
    buffers, sizes = Buffers(), []
    for _ in range(6):
        buffer = buffers.next(nothing)
        sizes.append(len(buffer))
        buffers.filled(buffer, len(buffer))
        buffers.give_back(buffer)
    assert sizes == [MIB // 8, MIB // 4, MIB // 2, MIB, MIB, MIB]


def test_what_comes_in_small_pieces_stays_in_one_small_buffer() -> None:
    buffers = Buffers()
    first = buffers.next(nothing)
    for _ in range(5):
        buffers.filled(first, 1000)
        buffers.give_back(first)
        assert buffers.next(nothing) is first


def test_with_all_in_use_the_mover_helps_and_waits() -> None:
    buffers, helped = Buffers(), threading.Event()
    taken = [buffers.next(helped.set) for _ in range(3)]
    assert not helped.is_set()

    def give_back_once_helped() -> None:
        helped.wait()
        buffers.give_back(taken[1])

    prover = threading.Thread(target=give_back_once_helped)
    prover.start()
    assert buffers.next(helped.set) is taken[1]
    prover.join()
