"""A refusal as each service's protocol words it, so that boto3 raises what it raises on AWS."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import InvalidClientTokenIdError, ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import get_service_model
from moto.s3.exceptions import S3AccessDeniedError
from werkzeug.exceptions import HTTPException

# The others follow their protocol: AccessDenied in XML, AccessDeniedException in JSON.
_CODES = {
    "sns": "AuthorizationError",  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    "cloudwatch": "AccessDenied",  # these two spoke XML once and keep its codes: smithy.io,
    "sqs": "AccessDenied",  # aws.protocols#awsQueryCompatible
    "ec2": "UnauthorizedOperation",
}


# Errors that any service may answer, so that no model lists them and moto would warn of each:
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
COMMON = ["AccessDenied", "AccessDeniedException", "UnrecognizedClientException"]


class _Answer(HTTPException):
    """moto's dispatcher takes `description` as the body and `code` as the status."""

    def __init__(self, body: Any, status: int) -> None:
        super().__init__(body)
        self.code = status


class _Error(ServiceException):
    """A class of ours: moto looks for a service named like the package of an error's class."""


def refusal(response: Any, message: str) -> Exception:
    """What to raise in place of doing what `response` was asked."""
    service = response.boto3_service_name
    if service == "s3":
        error = S3AccessDeniedError()
        error.message = message
        return error
    code = "AccessDeniedException" if _speaks_json(response) else "AccessDenied"
    return _answer(response, _CODES.get(service, code), message)


def unknown_key(response: Any, error: InvalidClientTokenIdError) -> Exception:
    """moto answers in XML to whoever speaks JSON."""
    if not _speaks_json(response):
        return error
    return _answer(response, "UnrecognizedClientException", error.message)


def _answer(response: Any, code: str, message: str) -> Exception:
    _, headers, body = response.serialized(ActionResult(_Error(code, message)))
    response.response_headers.update(headers)
    # JSON 1.x says 400 to every error of the caller, the others say what they mean.
    return _Answer(body, 400 if _protocol(response) == "json" else 403)


def _speaks_json(response: Any) -> bool:
    return _protocol(response) not in ("query", "ec2", "rest-xml")


def _protocol(response: Any) -> str:
    model = get_service_model(response.boto3_service_name)
    return str(response.determine_response_protocol(model))
