"""Polars, streaming, one thread, decimal sums."""

import polars as pl

from flows.cost_report.tables import COSTS
from tests.performance.peers.queries import FILES, KEYS

sums = [pl.len().alias("rows"), *(pl.col(cost).cast(pl.Decimal(38, 10)).sum() for cost in COSTS)]
bill = pl.scan_parquet(FILES)
daily = (
    bill.with_columns(pl.col("ChargePeriodStart").dt.date().alias("ChargeDate"))
    .group_by("ChargeDate", *KEYS)
    .agg(sums)
    .collect(engine="streaming")
)
tags = (
    bill.select("BillingCurrency", "ChargeCategory", *COSTS, pl.col("Tags").map.entries())
    .explode("Tags")
    .with_columns(
        pl.col("Tags").struct.field("key").alias("key"),
        pl.col("Tags").struct.field("value").alias("value"),
    )
    .group_by("BillingCurrency", "ChargeCategory", "key", "value")
    .agg(sums)
    .collect(engine="streaming")
)
print(len(daily), len(tags))
