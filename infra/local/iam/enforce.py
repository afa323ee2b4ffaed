"""Makes moto enforce IAM: patches of moto 5.2.5's internals, which is why it is pinned exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from botocore.awsrequest import AWSRequest
from moto.core import errors
from moto.core.authorization import ActionAuthenticatorMixin, enable_iam_authentication
from moto.core.exceptions import InvalidClientTokenIdError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.iam.access_control import AssumedRoleAccessKey, IAMRequestBase
from moto.s3.responses import S3Response
from moto.utilities.utils import get_partition
from werkzeug.exceptions import NotFound

from infra.local.iam.buckets import REFUSED_DELETES, TLS, mend_bucket_policies, replaced
from infra.local.iam.calls import calls
from infra.local.iam.conditions import UnsupportedPolicy
from infra.local.iam.moto_account import MotoAccount
from infra.local.iam.policy import Call, Caller
from infra.local.iam.record import Record
from infra.local.iam.refusal import COMMON, refusal, unknown_key
from infra.local.iam.request import Request, Value
from infra.local.iam.s3_calls import delete_calls
from infra.local.iam.verdict import Policies, Verdict, judge, sentence

# The request in hand: moto's check is given its signature's parts only.
_RESPONSE: ContextVar[Any] = ContextVar("response")

_SIGNED_AS = {"monitoring": "cloudwatch"}  # else a service signs with its actions' prefix


@contextmanager
def enforced(account: str = DEFAULT_ACCOUNT_ID) -> Iterator[Record]:
    """moto in this process refuses what AWS would refuse; yields the record of its decisions.

    Calls need credentials that moto knows: see `administrator` and `assume`.
    """
    record = Record(MotoAccount(account, "us-east-1").role_statements)
    authorize = ActionAuthenticatorMixin._authenticate_and_authorize_action
    delete_keys = S3Response._bucket_response_delete_keys

    def authorize_and_keep(response: Any, iam_request: type, resource: str = "*") -> None:
        if "Authorization" not in response.headers:  # anonymous, or a presigned URL
            raise refusal(response, "Access Denied")
        _RESPONSE.set(response)
        try:
            authorize(response, iam_request, resource)
        except InvalidClientTokenIdError as error:
            raise unknown_key(response, error) from error

    def check(iam_request: Any, _resource: str) -> None:
        _check(_RESPONSE.get(), iam_request, record)

    def delete_what_may_be(response: Any, bucket: str, authenticated: bool = True) -> Any:
        token = REFUSED_DELETES.set(getattr(response, "refused_deletes", frozenset()))
        try:
            return delete_keys(response, bucket, authenticated)
        finally:
            REFUSED_DELETES.reset(token)

    with ExitStack() as stack:
        for owner, name, value in (
            (ActionAuthenticatorMixin, authorize.__name__, authorize_and_keep),
            (IAMRequestBase, "check_action_permitted", check),
            (IAMRequestBase, "_create_aws_request", _signed_request),
            (S3Response, delete_keys.__name__, delete_what_may_be),
            (errors, "COMMON_ERROR_CODES", [*errors.COMMON_ERROR_CODES, *COMMON]),
        ):
            stack.enter_context(replaced(owner, name, value))
        stack.enter_context(mend_bucket_policies())
        stack.enter_context(enable_iam_authentication())
        yield record


def _check(response: Any, iam_request: Any, record: Record) -> None:
    request = _request(response, iam_request)
    if (request.service, request.operation) == ("sts", "GetCallerIdentity"):
        return  # needs no permission, and no policy can deny it (its API reference)
    key = iam_request._access_key
    is_role = isinstance(key, AssumedRoleAccessKey)
    name = key._owner_role_name if is_role else key._owner_user_name
    caller = _caller(request, key, name, is_role=is_role)
    if (request.service, request.operation) == ("s3", "DeleteObjects"):
        # Each key is decided and answered by itself, so each counts as a request of its own.
        refused = set()
        for call in delete_calls(request):
            verdict = _judge(call, request, caller, name, is_role=is_role)
            record.add(name, [verdict], role=is_role)
            refused |= set() if verdict.allowed else {call.resource}
        response.refused_deletes = frozenset(refused)
        return
    verdicts = []
    for call in calls(request):
        verdicts.append(_judge(call, request, caller, name, is_role=is_role))
        if not verdicts[-1].allowed:
            break
    record.add(name, verdicts, role=is_role)
    if not verdicts[-1].allowed:
        raise refusal(response, sentence(verdicts[-1], caller))


def _judge(call: Call, request: Request, caller: Caller, name: str, *, is_role: bool) -> Verdict:
    known = MotoAccount(request.account, request.region, request.partition)
    asked = Call(call.action, call.resource, _context(request, caller, name) | call.context)
    try:
        bucket = call.resource.split(":::")[-1].split("/")[0] if request.service == "s3" else ""
        policies = Policies(
            identity=known.role_statements(name) if is_role else known.user_statements(name),
            resource=known.bucket_policy(bucket) if bucket else (),
            trust=(known.trust_policy(call.resource) or ())
            if call.action == "sts:AssumeRole"
            else None,
        )
        return judge(asked, caller, policies)
    except UnsupportedPolicy as error:  # a refusal that says so; a 500 would be tried again
        return Verdict(asked, False, str(error), f"because the emulator cannot judge it: {error}")


def _caller(request: Request, key: Any, name: str, *, is_role: bool) -> Caller:
    role = (request.known.role_arn(name) or "") if is_role else ""
    user = "" if is_role else request.known.user_arn(name)
    return Caller(arn=user or key.arn, account=request.account, role_arn=role)


def _context(request: Request, caller: Caller, name: str) -> dict[str, Value]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html

    aws:SourceAccount and aws:SourceArn are absent: those are for calls that a service makes.
    """
    of_user: dict[str, Value] = {} if caller.role_arn else {"aws:username": name}
    return {
        **TLS,
        **of_user,
        "aws:PrincipalArn": caller.role_arn or caller.arn,  # of a session it is the role's
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalType": "AssumedRole" if caller.role_arn else "User",
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:RequestedRegion": request.region,
        "aws:ResourceAccount": request.account,
    }


def _request(response: Any, iam_request: Any) -> Request:
    signed_as, region = iam_request._service, iam_request._region
    operation, params = _parsed(response)
    return Request(
        service=_SIGNED_AS.get(signed_as, signed_as),
        operation=operation or iam_request._action.split(":", 1)[1],
        account=iam_request.account_id,
        region=region,
        known=MotoAccount(iam_request.account_id, region, get_partition(region)),
        params=params,
        partition=get_partition(region),
    )


def _parsed(response: Any) -> tuple[str, dict[str, Any]]:
    """The operation and its parameters as boto3 names them, by botocore's model of the service."""
    request = response.normalized_request
    try:
        operation, uri = get_service_router(response.boto3_service_name).match(request)
    except NotFound:
        return "", {}
    model = get_service_model(response.boto3_service_name)
    parser = PROTOCOL_PARSERS[determine_request_protocol(model, request.content_type)]
    values: Any = {
        "method": request.method,
        "values": request.values,
        "headers": request.headers,
        "body": request.data,
        "url_path": request.path,
        "url_params": uri,
    }
    return operation.name, parser(operation).parse(values)


def _signed_request(iam_request: Any) -> AWSRequest:
    """As moto makes it, but for an empty body, for which moto signs what it has instead: right for
    a form, which it has taken apart; of any other request it is the query or the headers, so that
    every GET of a JSON service would be SignatureDoesNotMatch.
    """
    authorization = iam_request._headers["Authorization"]
    signed = iam_request._get_string_between("SignedHeaders=", ",", authorization).split(";")
    headers = iam_request._create_headers_for_aws_request(signed, iam_request._headers)
    is_form = "x-www-form-urlencoded" in iam_request._headers.get("Content-Type", "")
    request = AWSRequest(
        method=iam_request._method,
        url=iam_request._path,
        data=iam_request._body or (iam_request._data if is_form else b""),
        headers=headers,
    )
    request.context["timestamp"] = headers["X-Amz-Date"]
    return request
