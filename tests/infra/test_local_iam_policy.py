"""The evaluator alone: operators, missing keys, wildcards, precedence, principals."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.iam.conditions import UnsupportedPolicy, conditions, holds
from infra.local.iam.patterns import arn_like
from infra.local.iam.policy import Call, Caller, evaluate, statements
from infra.local.iam.verdict import Policies, judge, sentence

ROLE = "arn:aws:iam::123456789012:role/job"
SESSION = "arn:aws:sts::123456789012:assumed-role/job/session"
CALLER = Caller(arn=SESSION, account="123456789012", role_arn=ROLE)


def policy(*listed: dict[str, Any], version: str = "2012-10-17") -> Any:
    return statements({"Version": version, "Statement": list(listed)}, "test")


def allow(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


# --- conditions ----------------------------------------------------------------------------------

ARN = "arn:aws:ecs:us-east-1:123456789012:cluster/jobs"

# operator, the policy's value, the request's (None: the key is missing), whether it holds
CONDITIONS: list[tuple[str, Any, Any, bool]] = [
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", "a*", "ab", False),
    ("StringEquals", ["a", "b"], "b", True),
    ("StringEquals", "a", None, False),
    ("StringEqualsIfExists", "a", None, True),
    ("StringEqualsIfExists", "a", "b", False),
    ("StringNotEquals", "a", "b", True),
    ("StringNotEquals", "a", "a", False),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringNotEquals", "a", None, True),
    ("StringNotEqualsIfExists", "a", None, True),
    ("StringEqualsIgnoreCase", "ABC", "abc", True),
    ("StringNotEqualsIgnoreCase", "ABC", "abc", False),
    ("StringLike", "data/*", "data/x/y", True),
    ("StringLike", "data/?", "data/xy", False),
    ("StringLike", "data/*", "", False),
    ("StringLike", "", "", True),
    ("StringLike", "a.c", "abc", False),
    ("StringLike", "data/*", None, False),
    ("StringNotLike", "data/*", "other/x", True),
    ("StringNotLike", "data/*", "data/x", False),
    ("StringNotLike", "data/*", None, True),
    ("ArnEquals", ARN, ARN, True),
    ("ArnEquals", "arn:aws:ecs:*:*:cluster/j*", ARN, True),
    ("ArnLike", "arn:aws:ecs:us-east-1:*:cluster/other", ARN, False),
    ("ArnLike", "arn:aws:ecs*:cluster/jobs", ARN, False),
    ("ArnLike", ARN, None, False),
    ("ArnNotLike", "arn:aws:ecs:*:*:cluster/*", ARN, False),
    ("ArnNotEquals", "arn:aws:ecs:*:*:cluster/x", ARN, True),
    ("ArnNotLike", ARN, None, True),
    ("Bool", "true", "true", True),
    ("Bool", True, "true", True),
    ("Bool", "false", "true", False),
    ("Bool", "false", None, False),
    ("BoolIfExists", "false", None, True),
    ("Null", "true", None, True),
    ("Null", "true", "x", False),
    ("Null", False, "x", True),
    ("Null", "false", None, False),
    ("NumericEquals", "5", "5.0", True),
    ("NumericNotEquals", 5, "6", True),
    ("NumericLessThan", "5", "5", False),
    ("NumericLessThanEquals", "5", "5", True),
    ("NumericGreaterThan", "10", "9", False),
    ("NumericGreaterThanEquals", "10", "10", True),
    ("NumericLessThan", "5", "many", False),
    ("NumericLessThan", "5", None, False),
    ("ForAnyValue:StringEquals", ["a", "b"], ["x", "b"], True),
    ("ForAnyValue:StringEquals", "a", ["x"], False),
    ("ForAnyValue:StringEquals", "a", None, False),
    ("ForAnyValue:StringNotEquals", "a", ["a", "b"], True),
    ("ForAnyValue:StringLike", "a*", "abc", True),
    ("ForAllValues:StringEquals", ["a", "b"], ["b", "a"], True),
    ("ForAllValues:StringEquals", ["a"], ["a", "b"], False),
    ("ForAllValues:StringEquals", "a", None, True),
    ("ForAllValues:StringEquals", "a", [], True),
    ("ForAllValues:StringNotEquals", "a", ["b", "a"], False),
    ("StringEquals", "job", "job", True),
    ("StringEquals", "${aws:PrincipalAccount}", "123456789012", True),
    ("StringEquals", "${aws:username}", "", False),
    ("StringEquals", "${aws:username, 'nobody'}", "nobody", True),
    ("StringLike", "${*}", "x", False),
]


@pytest.mark.parametrize(("operator", "wanted", "given", "expected"), CONDITIONS)
def test_condition(operator: str, wanted: Any, given: Any, expected: bool) -> None:
    (condition,) = conditions({operator: {"x:Key": wanted}})
    context = {"aws:principalaccount": "123456789012"}
    assert holds(condition, context if given is None else context | {"x:key": given}) is expected


@pytest.mark.parametrize(
    "operator",
    ["StringMatches", "DateLessThan", "IpAddress", "ForSomeValues:StringEquals", "NullIfExists"],
)
def test_an_unknown_operator_is_an_error(operator: str) -> None:
    with pytest.raises(UnsupportedPolicy, match=operator):
        policy(allow(Condition={operator: {"aws:x": "y"}}))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotPrincipal": "*", "Action": "*", "Resource": "*"},
        {"Effect": "allow", "Action": "*", "Resource": "*"},
    ],
)
def test_an_unknown_element_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPolicy, match="statement 0 of test"):
        policy(statement)


def test_all_keys_and_all_operators_must_hold() -> None:
    both = policy(allow(Condition={"StringEquals": {"a": "1", "b": "2"}, "Bool": {"c": "true"}}))
    full: dict[str, str | list[str]] = {"a": "1", "b": "2", "c": "true"}
    assert evaluate(both, Call("s3:GetObject", "r", full)).allowed
    for key in full:
        missing = {name: value for name, value in full.items() if name != key}
        assert not evaluate(both, Call("s3:GetObject", "r", missing)).allowed


def test_keys_are_case_insensitive_and_values_are_not() -> None:
    one = policy(allow(Condition={"StringEquals": {"S3:Prefix": "Data"}}))
    assert evaluate(one, Call("s3:GetObject", "r", {"s3:prefix": "Data"})).allowed
    assert not evaluate(one, Call("s3:GetObject", "r", {"s3:prefix": "data"})).allowed


# --- actions and resources -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "action", "expected"),
    [
        ({"Action": "s3:GetObject"}, "s3:GetObject", True),
        ({"Action": "S3:getobject"}, "s3:GetObject", True),
        ({"Action": "s3:Get*"}, "s3:GetObject", True),
        ({"Action": "s3:GetObject?"}, "s3:GetObject", False),
        ({"Action": ["ecs:*", "s3:*"]}, "s3:GetObject", True),
        ({"Action": "*"}, "s3:GetObject", True),
        ({"Action": "s3:GetObject"}, "s3:GetObjectVersion", False),
        ({"NotAction": "iam:*"}, "s3:GetObject", True),
        ({"NotAction": ["iam:*", "s3:*"]}, "s3:GetObject", False),
    ],
)
def test_action(element: dict[str, Any], action: str, expected: bool) -> None:
    statement = policy({"Effect": "Allow", "Resource": "*", **element})
    assert evaluate(statement, Call(action, "r")).allowed is expected


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("*", "anything", True),
        ("arn:aws:s3:::data/in/*", "arn:aws:s3:::data/in/a/b", True),
        ("arn:aws:s3:::data/in/*", "arn:aws:s3:::data/inside", False),
        ("arn:aws:s3:::data*", "arn:aws:s3:::data/x", True),
        ("arn:aws:s3:::data", "arn:aws:s3:::data/x", False),
        ("arn:aws:s3:::data/*", "arn:aws:s3:::data/a:b:c", True),
        ("arn:aws:s3:::data/*", "*", False),
        ("arn:aws:ecs:*:*:task/jobs/*", "arn:aws:ecs:eu-west-1:1:task/jobs/1", True),
        ("arn:aws:ecs:*:task/jobs/*", "arn:aws:ecs:eu-west-1:1:task/jobs/1", False),
        ("arn:aws:logs:*:*:log-group:a:*", "arn:aws:logs:e:1:log-group:a:log-stream:", True),
        ("arn:aws:logs:*:*:log-group:a", "arn:aws:logs:e:1:log-group:a:log-stream:", False),
        ("arn:aws:s3:::${aws:PrincipalAccount}-data", "arn:aws:s3:::1-data", True),
        ("arn:aws:s3:::${aws:username}", "arn:aws:s3:::${aws:username}", False),
    ],
)
def test_resource(pattern: str, resource: str, expected: bool) -> None:
    assert arn_like(pattern, resource, {"aws:principalaccount": "1"}) is expected


def test_what_a_variable_stands_for_is_no_wildcard() -> None:
    assert not arn_like("arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/x", {"aws:username": "*"})


def test_variables_are_plain_text_in_the_old_version() -> None:
    old = policy(allow(resource="arn:aws:s3:::${a:b}"), version="2008-10-17")
    context: dict[str, str | list[str]] = {"a:b": "x"}
    assert not evaluate(old, Call("s3:GetObject", "arn:aws:s3:::x", context)).allowed
    assert evaluate(old, Call("s3:GetObject", "arn:aws:s3:::${a:b}", context)).allowed


def test_not_resource_is_everything_else() -> None:
    other = policy({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::secret/*"})
    assert evaluate(other, Call("s3:GetObject", "arn:aws:s3:::open/x")).allowed
    assert not evaluate(other, Call("s3:GetObject", "arn:aws:s3:::secret/x")).allowed


def test_a_single_statement_needs_no_list() -> None:
    assert evaluate(statements({"Statement": allow()}, "test"), Call("s3:GetObject", "x")).allowed


# --- precedence ----------------------------------------------------------------------------------


def test_deny_outweighs_allow_in_any_order() -> None:
    for both in (policy(allow(), deny()), policy(deny(), allow())):
        decision = evaluate(both, Call("s3:GetObject", "r"))
        assert not decision.allowed
        assert [s.allow for s in decision.matched] == [False, True]


def test_nothing_said_is_no() -> None:
    decision = evaluate(policy(allow("s3:PutObject")), Call("s3:GetObject", "r"))
    assert not decision.allowed
    assert decision.matched == ()


def test_a_deny_whose_condition_is_not_met_denies_nothing() -> None:
    tls = deny("s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    call = Call("s3:GetObject", "r", {"aws:SecureTransport": "true"})
    assert evaluate(policy(allow(), tls), call).allowed


# --- principals and verdicts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": ROLE}, True),
        ({"AWS": SESSION}, True),
        ({"AWS": ["arn:aws:iam::123456789012:role/other", ROLE]}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/other"}, False),
        ({"AWS": "123456789012"}, False),  # hands it to the caller's policies: here there are none
        ({"AWS": "arn:aws:iam::123456789012:root"}, False),
        ({"Service": "ecs-tasks.amazonaws.com"}, False),
        ({"Federated": ROLE}, False),
    ],
)
def test_a_bucket_policy_may_grant_to_who_it_names(principal: Any, expected: bool) -> None:
    bucket = policy(allow(Principal=principal))
    verdict = judge(Call("s3:GetObject", "r"), CALLER, Policies((), bucket))
    assert verdict.allowed is expected


@pytest.mark.parametrize("principal", ["*", {"AWS": ROLE}, {"AWS": "123456789012"}])
def test_a_bucket_policy_may_deny(principal: Any) -> None:
    policies = Policies(policy(allow()), policy(deny(Principal=principal)))
    verdict = judge(Call("s3:GetObject", "r"), CALLER, policies)
    assert not verdict.allowed
    assert verdict.clause == "with an explicit deny in a resource-based policy"


def trust(principal: Any, **more: Any) -> Any:
    return policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


@pytest.mark.parametrize(
    ("granted", "principal", "expected"),
    [
        (True, {"AWS": "arn:aws:iam::123456789012:root"}, True),
        (False, {"AWS": "arn:aws:iam::123456789012:root"}, False),
        (False, {"AWS": ROLE}, True),
        (True, {"Service": "ecs-tasks.amazonaws.com"}, False),
    ],
)
def test_a_role_must_trust_who_takes_it(granted: bool, principal: Any, expected: bool) -> None:
    own = policy(allow("sts:AssumeRole")) if granted else ()
    call = Call("sts:AssumeRole", "arn:aws:iam::123456789012:role/admin")
    assert judge(call, CALLER, Policies(own, (), trust(principal))).allowed is expected


@pytest.mark.parametrize(
    ("own", "end"),
    [
        (
            policy(),
            '"arn:aws:s3:::b/k" because no identity-based policy allows the s3:GetObject action',
        ),
        (policy(deny()), '"arn:aws:s3:::b/k" with an explicit deny in an identity-based policy'),
    ],
)
def test_a_refusal_reads_as_on_aws(own: Any, end: str) -> None:
    verdict = judge(Call("s3:GetObject", "arn:aws:s3:::b/k"), CALLER, Policies(own))
    start = f"User: {SESSION} is not authorized to perform: s3:GetObject on resource: "
    assert sentence(verdict, CALLER) == start + end
