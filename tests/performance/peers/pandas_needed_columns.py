"""pandas with the needed columns only, one file at a time; sums are floats, so not exact."""

import pandas as pd

from flows.cost_report.tables import COSTS
from tests.performance.peers.queries import FILES, KEYS, NEEDED

daily, tags = [], []
for file in FILES:
    bill = pd.read_parquet(file, columns=NEEDED)
    bill["ChargeDate"] = bill["ChargePeriodStart"].dt.date
    grouped = bill.groupby(["ChargeDate", *KEYS], dropna=False, observed=True)[list(COSTS)]
    daily.append(grouped.sum())
    exploded = bill[["BillingCurrency", "ChargeCategory", *COSTS, "Tags"]].explode("Tags")
    exploded = exploded[exploded["Tags"].notna()]
    exploded["key"] = exploded["Tags"].str[0]
    exploded["value"] = exploded["Tags"].str[1]
    by = ["BillingCurrency", "ChargeCategory", "key", "value"]
    tags.append(exploded.groupby(by, dropna=False)[list(COSTS)].sum())
days = pd.concat(daily).groupby(level=list(range(1 + len(KEYS))), dropna=False).sum()
print(len(days), len(pd.concat(tags).groupby(level=[0, 1, 2, 3], dropna=False).sum()))
