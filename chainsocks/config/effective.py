"""The whole configuration that a file amounts to, as tables: every key with its value, and no secret.

A key that is in the file keeps what is written there; every other one has its default, as long as it can stand in its
table. A short form becomes a table. So the tables can be read again, and mean the same, but for secrets: each gets a
mask, equal ones the same one, so that two logins stay two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from chainsocks.config.defaults import written_default
from chainsocks.config.passwords import SCHEME
from chainsocks.config.rules import DIRECTLY
from chainsocks.config.schema import ListenerTlsTable, ListenTable, ServerTable, UserTable
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, TlsTable
from chainsocks.config.secrets import VARIABLE, Secrets
from chainsocks.config.sections import SECTIONS, Shape
from chainsocks.config.tables import Table, listed
from chainsocks.config.written import Part, Value
from chainsocks.protocol.masking import HIDDEN

__all__ = ["effective_parts"]

_OFF = "off"
"""What is written for a limit that there is not; some keys have that as their default."""

_MASKED_HASH = re.compile(rf"({SCHEME}:\d+:\d+:\d+):.*")
_LOGIN = re.compile(r"(?<=://).*(?=@)", re.DOTALL)


def effective_parts(data: Mapping[str, Any], secrets: Secrets) -> list[Part]:
    """Return the parts of a file, one for each table; `data` is a file that was read without a problem."""
    return list(_Effective(secrets).parts(data))


class _Effective:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._masks: dict[str, str] = {}
        self._hide: Mapping[type[Table], Mapping[str, Callable[[str], str]]] = {
            HopTable: {"url": self._hide_login} | dict.fromkeys(("user_id", "username", "password"), self._mask),
            UserTable: {"password_hash": _hide_hash},
        }

    def parts(self, data: Mapping[str, Any]) -> Iterator[Part]:
        for name, section in SECTIONS.items():
            raw = data.get(name)
            match section.shape:
                case Shape.ONE:
                    table, comments = self._table(section.model, raw or {})
                    yield Part({name: table}, comments)
                case Shape.NAMED:
                    for entry, value in (raw or {}).items():
                        if section.model is ChainTable and entry == DIRECTLY:
                            value = {"hops": DIRECTLY} | value
                        table, comments = self._table(section.model, value)
                        yield Part({name: {entry: table}}, comments)
                case Shape.LISTED:
                    for value in raw or []:
                        table, comments = self._table(section.model, value)
                        yield Part({name: [table]}, comments)

    def _table(self, model: type[Table], raw: object) -> tuple[dict[str, Value], tuple[str, ...]]:
        """Return a table with all keys that can stand in it, and what there is to say before it."""
        written = dict(_as_table(model, raw))
        unset = []
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key in written:
                continue
            default = written_default(field.default)
            read = self._read(model, written | {key: _OFF if default is None else default})
            if read is None or (default is None and getattr(read, name) is not None):
                unset.append(key)
            else:
                written[key] = _OFF if default is None else default
        comments = [f"Not set: {', '.join(unset)}."] if unset else []
        if model is ServerTable:
            listeners = [self._table(ListenTable, each) for each in listed(written["listen"])]
            written["listen"] = [table for table, _ in listeners]
            comments += [f"Listener {table['address']}: {said}" for table, each in listeners for said in each]
        keys = (field.alias or name for name, field in model.model_fields.items())
        table = {key: self._shown(model, key, written[key]) for key in keys if key in written}
        return table, tuple(comments)

    def _read(self, model: type[Table], raw: Mapping[str, Any]) -> Table | None:
        try:
            return model.model_validate(raw, context=self._secrets)
        except ValidationError:
            return None

    def _shown(self, model: type[Table], key: str, value: Any) -> Value:
        if key == "tls":
            return self._table(TlsTable if model is HopTable else ListenerTlsTable, {} if value is True else value)[0]
        if isinstance(value, str):
            if hide := self._hide.get(model, {}).get(key):
                return hide(value)
            if key.endswith("_env") and not VARIABLE.fullmatch(value):
                return self._mask(value)
            if key.endswith("_file") and not self._secrets.has_file(value):
                return self._mask(value)
        shown: Value = value
        return shown

    def _mask(self, secret: str) -> str:
        """Return what stands for a secret."""
        return self._masks.setdefault(secret, f"{HIDDEN}{len(self._masks) + 1}")

    def _hide_login(self, url: str) -> str:
        return _LOGIN.sub(lambda login: ":".join(map(self._mask, login[0].split(":", 1))), url)


def _hide_hash(text: str) -> str:
    """Keep the settings of a hash, and put a word for both its parts that can be read as such."""
    return _MASKED_HASH.sub(rf"\1:masked:{'masked' * 4}", text)


def _as_table(model: type[Table], raw: object) -> Mapping[str, Any]:
    """Return the table that a short form stands for."""
    if isinstance(raw, Mapping):
        return raw
    key = {HopTable: "url", GroupTable: "hops", ChainTable: "hops", ListenTable: "address"}[model]
    return {key: raw}
