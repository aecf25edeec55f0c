"""Writes records to a file until it is told to stop, and says which of them the file system has taken.

usage: prove_writer.py FILE SECONDS [PAUSE]

Each record is written under a lock and with fsync; then NODE NUMBER MILLISECONDS goes to the host through a port of the
machine, where it outlives the machine. A record that was told there and is not in the file later is lost data.
"""

import fcntl
import os
import pathlib
import socket
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.1
STOP = pathlib.Path("/run/prove-writer.stop")
node = socket.gethostname()
if os.stat(pathlib.Path(path).parent).st_dev == os.stat("/").st_dev:  # noqa: PTH116
    sys.exit(f"{path}: the file system is not mounted")
port = os.open("/dev/virtio-ports/hapkg.acks", os.O_WRONLY)
target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end and not STOP.exists():
    number += 1
    fcntl.flock(target, fcntl.LOCK_EX)
    os.write(target, f"{node} {number}\n".encode())
    os.fsync(target)
    fcntl.flock(target, fcntl.LOCK_UN)
    os.write(port, f"{node} {number} {time.monotonic() * 1000:.0f} {path}\n".encode())
    time.sleep(pause)
