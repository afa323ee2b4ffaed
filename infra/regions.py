"""Regions in which CloudFormation does not make what an installation is made of.

From CloudFormation's own resource schemas, region by region, as cfn-lint 1.58 carries them; a test
holds this against the cfn-lint that is installed.
"""

from __future__ import annotations

NO_BUDGETS = frozenset(
    """
    af-south-1 ap-east-1 ap-east-2 ap-northeast-3 ap-south-2 ap-southeast-3 ap-southeast-4
    ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-west-1 eu-central-2 eu-north-1 eu-south-1
    eu-south-2 il-central-1 me-central-1 mx-central-1
    """.split()  # noqa: SIM905
)
NO_CODECOMMIT = frozenset(
    """
    af-south-1 ap-east-2 ap-south-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6
    ap-southeast-7 ca-west-1 eu-central-2 eu-south-2 il-central-1 me-central-1 mx-central-1
    """.split()  # noqa: SIM905
)
NO_CODEBUILD = frozenset({"ap-east-2", "ca-west-1", "mx-central-1"})
EXPORTS = frozenset({"us-east-1"})  # where AWS Data Exports has its API
