"""The sockets of a server whose listeners change while it runs.

A listener that stays keeps its sockets, whatever else is said of it now: connections that wait there are not lost. It
is recognised by its address as it is written, so that port 0 stays the port that it became, and otherwise by the
address that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from chainsocks.config.listeners import Listener
from chainsocks.net.listeners import OpenListener, bind_datagrams, bind_listeners, change_access

__all__ = ["rearranged"]


@contextmanager
def rearranged(current: Sequence[OpenListener], wanted: Iterable[Listener]) -> Iterator[list[OpenListener]]:
    """Yield the sockets of all `wanted` listeners, in their order: those of `current` that stay, and bound new ones.

    If the block fails, the new ones are closed, and all is as it was before. Otherwise it is the caller who has the new
    ones listen, and closes those that are left out.

    Raises:
        OSError: as `chainsocks.net.listeners.open_listeners`; all is as it was before.
    """
    listeners, left = [*wanted], [*current]
    kept = [_take(left, listener) for listener in listeners]
    with ExitStack() as on_failure:
        for former, listener in zip(kept, listeners, strict=True):
            for each in former:
                on_failure.enter_context(change_access(each, listener))
        arranged: list[OpenListener] = []
        for former, listener in zip(kept, listeners, strict=True):
            if former:
                again = [OpenListener(listener, each.sock, each.path) for each in former if not each.is_udp]
                datagrams = [OpenListener(listener, each.sock) for each in former if each.is_udp]
                if not listener.takes_datagrams:
                    datagrams = []
                elif not datagrams:
                    datagrams = bind_datagrams(again)
                    for each in datagrams:
                        on_failure.push(_close_on_failure(each))
                for each in again + datagrams:
                    each.fit()
                arranged += again + datagrams
                continue
            for each in bind_listeners([listener], left):
                if each.sock not in (one.sock for one in left):
                    on_failure.push(_close_on_failure(each))
                arranged.append(each)
            left = [each for each in left if each.sock not in (one.sock for one in arranged)]
        yield arranged


def _close_on_failure(opened: OpenListener) -> Callable[[type[BaseException] | None, object, object], None]:
    """Return what closes a socket at the end of a block that fails."""

    def leave(kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            opened.close()

    return leave


def _take(left: list[OpenListener], listener: Listener) -> list[OpenListener]:
    """Take the sockets of one listener with the same address out of `left`; those of the very same one if there is."""
    same = [each for each in left if each.listener.address == listener.address]
    first = next((each for each in same if each.listener == listener), same[0] if same else None)
    taken = [each for each in same if first and each.listener is first.listener]
    for each in taken:
        left.remove(each)
    return taken
