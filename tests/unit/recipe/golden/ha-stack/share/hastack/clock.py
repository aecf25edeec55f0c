"""How far the clocks of two nodes are apart, asked of the other one's kernel: ICMP timestamps, no ssh, no daemon."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time

_ASK, _ANSWER = 13, 14
_DAY = 86_400_000
_PATIENCE = 1.0
_MESSAGE = struct.Struct("!BBHHHIII")
"""Type, code, checksum, identifier, number, and three times in milliseconds since midnight UTC."""


def ask(address: str) -> float | None:
    """Seconds by which the clock at an IPv4 address is ahead of this one; None when it does not tell."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as line:
        line.connect((address, 0))
        identifier = os.getpid() & 0xFFFF
        sent = _now()
        line.send(make_question(identifier, sent))
        end = time.monotonic() + _PATIENCE
        while (left := end - time.monotonic()) > 0:
            line.settimeout(left)
            packet = line.recv(1500)
            told = read_answer(packet, identifier)
            if told is not None:
                return measure(sent, told, _now())
    return None


def _now() -> int:
    return int(time.time() * 1000) % _DAY


def make_question(identifier: int, sent: int) -> bytes:
    """The message that asks for the time."""
    blank = _MESSAGE.pack(_ASK, 0, 0, identifier, 1, sent, 0, 0)
    return _MESSAGE.pack(_ASK, 0, sum_up(blank), identifier, 1, sent, 0, 0)


def sum_up(message: bytes) -> int:
    """The checksum of the Internet: one's complement of the one's complement sum of words."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read_answer(packet: bytes, identifier: int) -> int | None:
    """The time in an IPv4 packet that answers the question; None for any other packet."""
    start = (packet[0] & 0xF) * 4 if packet else 0
    if len(packet) < start + _MESSAGE.size:
        return None
    fields: tuple[int, ...] = _MESSAGE.unpack_from(packet, start)
    kind, asked, received = fields[0], fields[3], fields[6]
    # The highest bit marks a time that is not since midnight UTC.
    return received if kind == _ANSWER and asked == identifier and received < _DAY else None


def measure(sent: int, told: int, back: int) -> float:
    """Seconds by which another clock is ahead, by when the question left, what it said, and when that came back."""
    way = (back - sent) % _DAY
    apart = (told - sent - way // 2) % _DAY
    return (apart - _DAY if apart > _DAY // 2 else apart) / 1000
