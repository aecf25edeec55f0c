"""Servers that repositories lie on, on the loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def run_server(port: int, *argv: str | Path) -> Iterator[None]:
    """Run a server for as long as it is needed."""
    with subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                assert server.poll() is None, argv
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A server that speaks S3; its URL."""
    port = find_port()
    with run_server(port, Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of that server; it has one empty bucket."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="packages")
    reading = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::packages/*"}
    client.put_bucket_policy(Bucket="packages", Policy=json.dumps({"Version": "2012-10-17", "Statement": [reading]}))
    for entry in client.list_objects_v2(Bucket="packages").get("Contents", ()):
        client.delete_object(Bucket="packages", Key=entry["Key"])
    return client
