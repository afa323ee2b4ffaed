"""Three buckets: data that jobs read and write, Prefect's history, and the pipeline's artifacts.

All are private, TLS only, encrypted by S3, and kept by CloudFormation when the stack goes;
`make destroy` removes the artifacts, and the other two when asked to purge. History has a bucket of
its own so that no job's destination can lie above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_bcmdataexports as exports
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.names import Names
from infra.settings import Settings
from infra.substitute import sub, sub_all

BILLS = "bills"  # where AWS writes the account's bill, and where the first job reads it

# The columns of AWS's table, all of FOCUS 1.2's own:
# https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-focus-1-2-aws.html
FOCUS_1_2 = """
    AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType
    BillingCurrency BillingPeriodEnd BillingPeriodStart CapacityReservationId
    CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription ChargeFrequency
    ChargePeriodEnd ChargePeriodStart CommitmentDiscountCategory CommitmentDiscountId
    CommitmentDiscountName CommitmentDiscountQuantity CommitmentDiscountStatus
    CommitmentDiscountType CommitmentDiscountUnit ConsumedQuantity ConsumedUnit ContractedCost
    ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost ListUnitPrice
    PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice
    PricingCurrencyEffectiveCost PricingCurrencyListUnitPrice PricingQuantity PricingUnit
    ProviderName PublisherName RegionId RegionName ResourceId ResourceName ResourceType
    ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter SkuPriceDetails SkuPriceId
    SubAccountId SubAccountName SubAccountType Tags
""".split()  # noqa: SIM905 - a table of names reads better than as many quotes


@dataclass(frozen=True)
class Storage:
    data: s3.Bucket
    state: s3.Bucket
    artifacts: s3.Bucket


def storage(scope: Construct, settings: Settings, names: Names) -> Storage:
    """`names` with the account's own number lets CloudFormation find buckets that are there."""
    # A job that writes nonsense over what was right: a week to take it back.
    week = s3.LifecycleRule(noncurrent_version_expiration=Duration.days(7))
    month = s3.LifecycleRule(expiration=Duration.days(30))
    made = Storage(
        data=_bucket(scope, "Data", names.bucket("data"), versioned=True, rules=[week]),
        # Litestream writes and prunes many small files: it keeps its own history.
        state=_bucket(scope, "State", names.bucket("state"), versioned=False, rules=[]),
        artifacts=_bucket(
            scope, "Artifacts", names.bucket("artifacts"), versioned=False, rules=[month]
        ),
    )
    if settings.makes_export:
        _bill_export(scope, settings, names, made.data)
    return made


def _bucket(
    scope: Construct, id: str, name: str, *, versioned: bool, rules: list[s3.LifecycleRule]
) -> s3.Bucket:
    leftovers = s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(7))
    return s3.Bucket(
        scope,
        id,
        bucket_name=sub(name),
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        enforce_ssl=True,
        encryption=s3.BucketEncryption.S3_MANAGED,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=versioned,
        lifecycle_rules=[leftovers, *rules],
        removal_policy=RemovalPolicy.RETAIN,
    )


def _bill_export(scope: Construct, settings: Settings, names: Names, data: s3.Bucket) -> None:
    """AWS's own daily export of the account's bill, free of charge."""
    # https://docs.aws.amazon.com/cur/latest/userguide/dataexports-s3-bucket.html
    data.add_to_resource_policy(
        iam.PolicyStatement(
            sid="BillExport",
            principals=[
                iam.ServicePrincipal("bcm-data-exports.amazonaws.com"),
                iam.ServicePrincipal("billingreports.amazonaws.com"),
            ],
            actions=["s3:GetBucketPolicy", "s3:PutObject"],
            resources=[data.bucket_arn, f"{data.bucket_arn}/{BILLS}/*"],
            conditions=sub_all(
                {
                    "StringEquals": {"aws:SourceAccount": names.account},
                    "ArnLike": {
                        "aws:SourceArn": [
                            f"arn:aws:cur:us-east-1:{names.account}:definition/*",
                            f"arn:aws:bcm-data-exports:us-east-1:{names.account}:export/*",
                        ]
                    },
                }
            ),
        )
    )
    destination = exports.CfnExport.S3DestinationProperty(
        s3_bucket=data.bucket_name,
        s3_prefix=BILLS,
        s3_region=settings.region,
        s3_output_configurations=exports.CfnExport.S3OutputConfigurationsProperty(
            compression="PARQUET",
            format="PARQUET",
            output_type="CUSTOM",
            overwrite="OVERWRITE_REPORT",
        ),
    )
    export = exports.CfnExport(
        scope,
        "BillExport",
        export=exports.CfnExport.ExportProperty(
            name=settings.installation,
            data_query=exports.CfnExport.DataQueryProperty(
                query_statement=f"SELECT {', '.join(FOCUS_1_2)} FROM FOCUS_1_2_AWS",  # noqa: S608
                table_configurations={"FOCUS_1_2_AWS": {"TIME_GRANULARITY": "DAILY"}},
            ),
            destination_configurations=exports.CfnExport.DestinationConfigurationsProperty(
                s3_destination=destination
            ),
            refresh_cadence=exports.CfnExport.RefreshCadenceProperty(frequency="SYNCHRONOUS"),
        ),
    )
    if data.policy:
        export.node.add_dependency(data.policy)  # AWS tries the bucket when the export is made
