"""Plain DuckDB, as a careful person writes it: two scans, DECIMAL(18,10) sums, one thread."""

import duckdb

from flows.cost_report.tables import COSTS
from tests.performance.peers.queries import FILES, KEYS

sums = ", ".join(f"sum({cost}::DECIMAL(18,10)) AS {cost}" for cost in COSTS)
keys = ", ".join(KEYS)
connection = duckdb.connect()
connection.execute("SET threads = 1")
daily = connection.execute(
    f"SELECT ChargePeriodStart::DATE AS ChargeDate, {keys}, count(*), {sums}"
    f" FROM read_parquet({FILES!r}) GROUP BY ALL"
).fetchall()
tags = connection.execute(
    f"SELECT BillingCurrency, ChargeCategory, tag.key, tag.value, count(*), {sums} FROM ("
    f"  SELECT BillingCurrency, ChargeCategory, {', '.join(COSTS)},"
    f"  unnest(map_entries(Tags)) AS tag FROM read_parquet({FILES!r})) GROUP BY ALL"
).fetchall()
print(len(daily), len(tags))
