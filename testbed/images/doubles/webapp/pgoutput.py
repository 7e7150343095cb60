# SPDX-License-Identifier: MIT
"""PostgreSQL's logical replication messages (plug-in pgoutput, protocol version 1), decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

Row = dict[str, str | None]


@dataclass(frozen=True)
class Change:
    kind: str  # insert, update, delete
    table: str
    row: Row


@dataclass(frozen=True)
class Commit:
    lsn: int


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError("message ends early")
        self.at += size
        return piece

    def number(self, form: str) -> int:
        value: int = struct.unpack(f">{form}", self.take(struct.calcsize(f">{form}")))[0]
        return value

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece.decode()


class Decoder:
    """Remembers the relations that the stream announces."""

    def __init__(self) -> None:
        self.relations: dict[int, tuple[str, list[str]]] = {}

    def decode(self, payload: bytes) -> Change | Commit | None:
        reader = _Reader(payload[1:])
        match payload[:1]:
            case b"R":
                self._relation(reader)
            case b"C":
                reader.take(1)
                return Commit(reader.number("Q"))
            case b"I":
                table, names = self.relations[reader.number("I")]
                reader.take(1)
                return Change("insert", table, self._row(reader, names, {}))
            case b"U":
                table, names = self.relations[reader.number("I")]
                old: Row = {}
                if reader.take(1) in b"KO":
                    old = self._row(reader, names, {})
                    reader.take(1)
                return Change("update", table, self._row(reader, names, old))
            case b"D":
                table, names = self.relations[reader.number("I")]
                reader.take(1)
                return Change("delete", table, self._row(reader, names, {}))
        return None

    def _relation(self, reader: _Reader) -> None:
        number = reader.number("I")
        reader.text()
        table = reader.text()
        reader.take(1)
        names = []
        for _ in range(reader.number("H")):
            reader.take(1)
            names.append(reader.text())
            reader.take(8)
        self.relations[number] = (table, names)

    @staticmethod
    def _row(reader: _Reader, names: list[str], old: Row) -> Row:
        row: Row = {}
        for name in names[: reader.number("H")]:
            match reader.take(1):
                case b"n":
                    row[name] = None
                case b"u":  # an unchanged long value is not sent again: the old row (identity FULL) has it
                    row[name] = old.get(name)
                case _:
                    row[name] = reader.take(reader.number("I")).decode()
        return row
