"""Servers that repositories and build caches lie on, on the loopback."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.packages import run


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def run_server(port: int, *argv: str | Path, **environment: str) -> Iterator[None]:
    """Run a server for as long as it is needed."""
    words, null, variables = [str(word) for word in argv], subprocess.DEVNULL, {**os.environ, **environment}
    with subprocess.Popen(words, stdout=null, stderr=null, env=variables) as server:
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
    """A server that speaks S3, in short lists; its URL."""
    port, program = find_port(), Path(sys.executable).with_name("moto_server")
    with run_server(port, program, "-H", "127.0.0.1", "-p", str(port), MOTO_S3_DEFAULT_MAX_KEYS="40"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of that server; it has one empty bucket."""
    import boto3

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
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="packages"):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket="packages", Key=entry["Key"])
    return client


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host called "elsewhere", with keys made for it alone; the ssh command that knows it."""
    folder, port = tmp_path_factory.mktemp("ssh"), find_port()
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    (folder / "config").write_text(
        f"Host elsewhere\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/user\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n StrictHostKeyChecking yes\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with run_server(port, "/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"):
        yield f"ssh -F {folder}/config"
