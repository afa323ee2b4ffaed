"""IAM enforced on moto: each call is checked as AWS checks it, and refused in AWS's words.

Covered: identity policies of roles, users and groups, inline and attached; bucket policies; trust
policies; resources, wildcards, policy variables and conditions; iam:PassRole wherever a role is
handed to a service; tags that come with a new thing; the source of a copy; each key of
DeleteObjects; S3's 403 in place of 404 for those who may not list.

Not covered: service control policies, permissions boundaries, session policies; policies of other
resources than buckets and roles (repositories, keys; queues and topics, but for what EventBridge
and CloudWatch send); KMS; calls across accounts;
aws:ResourceTag, aws:PrincipalTag and aws:SourceIp; Date and IP conditions (an error says so);
presigned URLs (refused); the end of a session's time; what CloudFormation itself does with the
caller's rights; PassRole to services that are not in `calls.py`. An operation that `calls.py` does
not know is checked against the resource `*`.

Reads from the bottom up: `patterns`, `conditions`, `policy` and `verdict` judge, and `calls` says
what there is to judge; they know nothing of moto. `enforce` puts them in moto's place.
"""

from infra.local.iam.buckets import mend_bucket_policies
from infra.local.iam.credentials import NotTrusted, administrator, assume
from infra.local.iam.enforce import enforced
from infra.local.iam.record import Entry, Grant, Record

__all__ = [
    "Entry",
    "Grant",
    "NotTrusted",
    "Record",
    "administrator",
    "assume",
    "enforced",
    "mend_bucket_policies",
]
