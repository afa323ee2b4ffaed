"""AWS's API on a loopback port: moto, in this process, with what it lacks and with IAM enforced.

Each of infra/local's packages says what it does not cover.
"""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.iam.models import SERVICE_NAME_CONVERSION
from moto.server import ThreadedMotoServer

from infra.local import billing, cloudformation
from infra.local.iam import Record, administrator, assume, enforced, mend_bucket_policies
from infra.local.release import images
from infra.local.release.scan import Scanner

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class LocalAws:
    """A running one. `record` has every call and what became of it; `scanner` what ECR finds in
    images.
    """

    url: str
    region: str
    record: Record | None
    scanner: Scanner = field(default_factory=Scanner)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A client of the person who deploys, or of who has these credentials."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            **(credentials or administrator()),
        )

    def environment(self) -> dict[str, str]:
        """What makes AWS's own tools come here as the person who deploys."""
        keys = administrator()
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
        }

    def role(self, name: str, service: str, source_arn: str) -> dict[str, str]:
        """Credentials of a role, as the service gets them for the sake of one of our resources."""
        context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source_arn}
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        return assume(arn, service, context=context)


@contextmanager
def local_aws(
    port: int = 0, *, region: str = "us-east-1", enforce: bool = True
) -> Iterator[LocalAws]:
    """An AWS with nothing in it, until the context ends. One at a time: moto's state is this
    process's.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise a line for each request
    cloudformation.register()
    billing.register()
    SERVICE_NAME_CONVERSION["ecs"] = "ECS"  # AWSServiceRoleForECS
    with ExitStack() as stack:
        stack.enter_context(mend_bucket_policies())
        record = stack.enter_context(enforced()) if enforce else None
        scanner = Scanner()
        stack.enter_context(images.mended(scanner))
        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        stack.callback(server.stop)
        host, bound = server.get_host_and_port()
        url = f"http://{host}:{bound}"
        urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # noqa: S310 - our own
        yield LocalAws(url, region, record, scanner)
