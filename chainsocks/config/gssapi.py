"""The keys ``gssapi`` and ``gssapi_*`` of ``[server]`` and of a hop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from chainsocks.config.extras import GSSAPI, require
from chainsocks.config.hops import Hop
from chainsocks.config.models import ServerGssapi
from chainsocks.config.suggest import describe, none_of
from chainsocks.protocol.gssapi import Gssapi, Protection

__all__ = [
    "gather_gssapi",
    "parse_keytab",
    "parse_principal",
    "parse_protection",
    "parse_service",
    "parse_service_host",
    "with_gssapi",
]

PREFIX = "gssapi_"

_PROTECTIONS = {str(each): each for each in Protection if each is not Protection.SELECTIVE}

ValueT = TypeVar("ValueT", ServerGssapi, Gssapi)


def gather_gssapi(kind: type[ValueT], given: Mapping[str, Any]) -> ValueT | None:
    """Make a value of the GSSAPI keys among the keys that the user wrote; None if there are none.

    Raises:
        ValueError: ``gssapi`` is missing, or the package is not installed.
    """
    others = {key.removeprefix(PREFIX): value for key, value in given.items() if key.startswith(PREFIX)}
    if "gssapi" not in given:
        if others:
            names = ", ".join(PREFIX + name for name in sorted(others))
            raise ValueError(f'{names}: needs gssapi, as in gssapi = "{Protection.INTEGRITY}"')
        return None
    require(*GSSAPI)
    return kind(given["gssapi"], **others)


def with_gssapi(hop: Hop, login: Gssapi) -> Hop:
    """Return a hop with a login by GSSAPI.

    Raises:
        ValueError: its protocol has no GSSAPI, or the hop has another login.
    """
    if Gssapi not in hop.kind.logins:
        raise ValueError(f"gssapi cannot be used with protocol {hop.protocol.value!r}")
    if hop.credentials:
        raise ValueError("gssapi and username cannot both be set")
    return replace(hop, credentials=login)


def parse_protection(value: str) -> Protection:
    """Read a protection level.

    Raises:
        ValueError: it is not one.
    """
    if value in _PROTECTIONS:
        return _PROTECTIONS[value]
    raise ValueError(none_of(_PROTECTIONS, value))


def parse_service(value: str) -> str:
    """Read the name of a service: the first part of its principal.

    Raises:
        ValueError: it is not one.
    """
    if not _is_component(value):
        raise ValueError(f"found {describe(value)}, expected the name of a service, such as 'rcmd', without its host")
    return value


def parse_service_host(value: str) -> str:
    """Read the host of a service: the second part of its principal.

    Raises:
        ValueError: it is not one.
    """
    if not _is_component(value):
        raise ValueError(f"found {describe(value)}, expected the name of the host that the service's key is for")
    return value


def _is_component(text: str) -> bool:
    """Whether a text can be one part of a principal."""
    return text != "" and text.isprintable() and not {*text} & {*"/@ "}


def parse_principal(value: str) -> str:
    """Read a principal, or ``*@REALM``.

    Raises:
        ValueError: it is not one.
    """
    name, at, realm = value.rpartition("@")
    if not (name and at and realm) or not value.isprintable() or ("*" in value and name != "*"):
        raise ValueError(
            f"found {describe(value)}, expected a principal as in 'carol@EXAMPLE.ORG', or '*@EXAMPLE.ORG' for all"
        )
    return value


def parse_keytab(value: str) -> str:
    """Read the path of a keytab.

    Raises:
        ValueError: the file does not exist, or cannot be read.
    """
    if not os.access(value, os.R_OK):
        raise ValueError(f"found {describe(value)}, which does not exist or cannot be read")
    return value
