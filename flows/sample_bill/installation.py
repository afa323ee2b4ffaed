"""A small installation of Nightshift in the bill: one job a night, and what it needs.

Its charges carry the tag `nightshift`, as those of a real one do, and come to about half a dollar
a month: the orchestrator and the job on Fargate, their addresses, images, files and logs. Prices
are AWS's list prices of us-east-1; quantities have few enough decimals for a cost of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flows.sample_bill import fees
from flows.sample_bill import organisation as org
from flows.sample_bill.catalog import BY_NAME, SERVICES
from flows.sample_bill.draw import code, rng
from flows.sample_bill.options import Period

TAG, NAME = "user:nightshift", "nightshift-prod"
ACCOUNT = 7  # shared-services
REGION = org.REGIONS[0]
HOUR = 3  # of the night, UTC: where a day's charges lie in an hourly bill
CHANGING = 0.12  # sigma of the lognormal length of a run

PRICES = (
    "ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice",
    "PricingCurrencyContractedUnitPrice",
)  # fmt: skip
COSTS = (
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost",
)  # fmt: skip

ECS, VPC = "Amazon Elastic Container Service", "Amazon Virtual Private Cloud"
ECR, S3 = "Amazon EC2 Container Registry (ECR)", "Amazon Simple Storage Service"
LOGS = "AmazonCloudWatch"


@dataclass(frozen=True)
class Part:
    """One kind of charge. `a_day`: quantity in `unit`; `runs`: whether it varies with the run.

    `price`: USD per `unit`. `decimals` of a quantity, so that price x quantity has at most ten.
    """

    service: str
    meter: str
    operation: str
    unit: str
    price: float
    a_day: float
    decimals: int
    text: str
    resource: str
    kind: str
    runs: bool = True
    spot: bool = False


# The orchestrator: half a CPU and 1 GB for a quarter of an hour. The job: one CPU and 2 GB on Spot
# for eleven minutes. Each holds a public address for as long.
PARTS = (
    Part(
        ECS, "Fargate-ARM-vCPU-Hours:perCPU", "FargateTask", "Hours", 0.03238, 0.125, 5,
        "AWS Fargate - ARM - vCPU", "arn:aws:ecs:{}:{}:task/nightshift-prod/orchestrator", "task",
    ),
    Part(
        ECS, "Fargate-ARM-GB-Hours", "FargateTask", "GB-Hours", 0.00356, 0.25, 5,
        "AWS Fargate - ARM - Memory", "arn:aws:ecs:{}:{}:task/nightshift-prod/orchestrator",
        "task",
    ),
    Part(
        ECS, "SpotUsage-Fargate-ARM-vCPU-Hours:perCPU", "FargateTask", "Hours", 0.009714, 0.18, 4,
        "AWS Fargate - ARM - Spot vCPU", "arn:aws:ecs:{}:{}:task/nightshift-prod/job", "task",
        spot=True,
    ),
    Part(
        ECS, "SpotUsage-Fargate-ARM-GB-Hours", "FargateTask", "GB-Hours", 0.001068, 0.36, 4,
        "AWS Fargate - ARM - Spot Memory", "arn:aws:ecs:{}:{}:task/nightshift-prod/job", "task",
        spot=True,
    ),
    Part(
        VPC, "PublicIPv4:InUseAddress", "AllocateAddressVPC", "Hours", 0.005, 0.43, 5,
        "$0.005 per In-use public IPv4 address per hour",
        "arn:aws:ec2:{}:{}:network-interface/eni-nightshift", "network-interface",
    ),
    Part(
        ECR, "TimedStorage-ByteHrs", "EcrTimedStorage", "GB-Months", 0.1, 0.04, 6,
        "$0.10 per GB-month of data storage", "arn:aws:ecr:{}:{}:repository/nightshift-prod",
        "repository", runs=False,
    ),
    Part(
        S3, "Requests-Tier1", "PutObject", "Requests", 0.000005, 390, 0,
        "$0.005 per 1,000 PUT, COPY, POST, or LIST requests", "nightshift-prod-data", "bucket",
    ),
    Part(
        S3, "TimedStorage-ByteHrs", "StandardStorage", "GB-Months", 0.023, 0.015, 6,
        "$0.023 per GB - first 50 TB / month of storage used", "nightshift-prod-data", "bucket",
        runs=False,
    ),
    Part(
        LOGS, "DataProcessing-Bytes", "PutLogEvents", "GB", 0.5, 0.004, 5,
        "$0.50 per GB custom log data ingested in Standard log class",
        "arn:aws:logs:{}:{}:log-group:/nightshift-prod/runs", "log-group",
    ),
)  # fmt: skip


def of_period(seed: int, period: Period, hourly: bool) -> list[fees.Row]:
    """Its rows of one period, a day after the other; keys that a row lacks are null."""
    return [
        {**fees.common(period), **_charge(seed, part, period, day, hourly)}
        for day in range(period.visible)
        for part in PARTS
    ]


def _charge(seed: int, part: Part, period: Period, day: int, hourly: bool) -> fees.Row:
    date = period.first + timedelta(days=day)
    random = rng(seed, "nightshift", date.toordinal())  # a day's parts vary alike
    varies = float(random.lognormal(0.0, CHANGING)) if part.runs else 1.0
    quantity = max(round(part.a_day * varies, part.decimals), 10.0**-part.decimals)
    cost = round(part.price * quantity, 10)
    service, account = SERVICES[BY_NAME[part.service]], org.ACCOUNTS[ACCOUNT]
    begin = fees.midnight(date) + timedelta(hours=HOUR if hourly else 0)
    sku = f"nightshift/{part.meter}/{part.price}"
    tags = {TAG: NAME, **({org.TAG_KEYS[org.TAG_UNIT]: account.unit} if account.unit else {})}
    return {
        "SubAccountId": account.id,
        "SubAccountName": account.name,
        "ServiceName": service.name,
        "ServiceCategory": service.category,
        "ServiceSubcategory": service.subcategory,
        "x_ServiceCode": service.code,
        "PublisherName": service.publisher,
        "RegionId": REGION.id,
        "RegionName": REGION.name,
        "ResourceId": part.resource.format(REGION.id, account.id),
        "ResourceType": part.kind,
        "ChargePeriodStart": begin,
        "ChargePeriodEnd": begin + (timedelta(hours=1) if hourly else timedelta(days=1)),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{part.text} - {REGION.name}",
        "PricingCategory": "Dynamic" if part.spot else "Standard",
        "ConsumedQuantity": quantity,
        "ConsumedUnit": part.unit,
        "PricingQuantity": quantity,
        "PricingUnit": part.unit,
        "SkuId": code(sku, 16),
        "SkuPriceId": f"{code(sku, 16)}.{code(sku + '/term', 10)}.{code(sku + '/rate', 10)}",
        "SkuMeter": part.meter,
        "x_UsageType": part.meter,
        "x_Operation": part.operation,
        "Tags": tags,
        **dict.fromkeys(PRICES, part.price),
        **dict.fromkeys(COSTS, cost),
    }
