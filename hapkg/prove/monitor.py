"""QEMU's monitor (QMP): what is done to a machine from outside, its cables and its disks."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from hapkg.errors import ProofError

_SECONDS = 20.0


def tell_monitor(path: Path, execute: str, **arguments: Any) -> Any:
    """Do one thing; what QEMU answers. Raises ProofError when it refuses or does not answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_SECONDS)
        try:
            channel.connect(str(path))
            stream = channel.makefile("rwb")
            stream.readline()  # its greeting
            for name, values in (("qmp_capabilities", {}), (execute, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": values}).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise ProofError(f"QEMU refuses {name}: {answer['error'].get('desc')}")
        except (OSError, ValueError) as error:
            raise ProofError(f"QEMU's monitor does not answer {execute}: {error}") from error
    return answer["return"]
