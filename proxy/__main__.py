"""``entrepot`` and ``python -m proxy``. What is done first takes no time: signals may come from the first instant."""

import signal
import sys


def main() -> None:
    """The command line, with its signals in order before the modules of a command are read."""
    if "serve" in sys.argv[1:]:
        # What ``proxy.signals`` does, which is not read yet.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from proxy.cli import main as command  # noqa: PLC0415 - the rest of the program, after the above

    signal.signal(signal.SIGINT, interrupted)
    command()


if __name__ == "__main__":
    main()
