"""The client by which objects of S3 are reached. `boto3` is imported here alone, and only when there is a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hapkg.errors import HapkgError, MachineError
from hapkg.repository.remote.location import BucketFolder

_AMAZON = re.compile(r"\.amazonaws\.com(\.cn)?\Z")


def connect(location: BucketFolder, kind: type[HapkgError]) -> Any:
    """A client, which several threads may use. Raises MachineError without boto3, and kind without a region."""
    try:
        import boto3  # noqa: PLC0415 - half a second, for those alone who have a bucket
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(
            f"{location} needs the Python package boto3", hint="install it beside hapkg: pip install 'hapkg[s3]'"
        ) from error
    with translate_errors(location, kind):
        session = boto3.Session()  # boto3's own default one is for one thread
        client = session.client("s3")
        if _AMAZON.search(client.meta.endpoint_url):
            return client
        # Others may not know checksums that come afterwards.
        words = dict.fromkeys(("request_checksum_calculation", "response_checksum_validation"), "when_required")
        words = {word: os.environ.get(f"AWS_{word.upper()}", value) for word, value in words.items()}
        return session.client("s3", config=Config(**words))


def find_refusal() -> Any:
    """The class of a server's refusal."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    return ClientError


def is_absent(refusal: Any) -> bool:
    """Tell whether there is no such object, in a bucket that is there."""
    return bool(refusal.response["Error"].get("Code") == "NoSuchKey")


@contextmanager
def translate_errors(location: BucketFolder, kind: type[HapkgError]) -> Iterator[None]:
    """Raise refusals, and failures on the way, as an error of a kind."""
    from botocore import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as refusal:
        raise kind(
            f"{location} refuses: {refusal.response['Error'].get('Message') or refusal}",
            details=(str(refusal),),
            hint="see whether the bucket exists and the credentials allow to list, get, put and delete in it",
        ) from refusal
    except (exceptions.BotoCoreError, exceptions.HTTPClientError, ValueError) as problem:
        raise kind(
            f"{location} cannot be reached: {str(problem).rstrip('.')}",
            hint="set AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION and credentials as for every AWS program",
        ) from problem
