"""System calls that fail say why, and where."""

from __future__ import annotations

import errno

import pytest

from chainsocks.namespace.calls import bind_mount, load_filter, mount_tmpfs, unmount, unshare


def test_a_call_that_fails_is_an_error() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        unshare(1)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:  # noqa: PT011
        load_filter(b"")
    assert caught.value.errno in (errno.EINVAL, errno.EACCES)


def test_mounts_say_where() -> None:
    for mount in (mount_tmpfs, unmount, lambda path: bind_mount("/nonexistent/source", path)):
        with pytest.raises(OSError, match="/nonexistent/target"):
            mount("/nonexistent/target")
