"""Plain DuckDB with less to do than the others: the daily roll-up, and one tag key of the many."""

import duckdb

from flows.cost_report.tables import COSTS
from tests.performance.peers.queries import FILES, KEYS

sums = ", ".join(f"sum({cost}::DECIMAL(18,10)) AS {cost}" for cost in COSTS)
connection = duckdb.connect()
connection.execute("SET threads = 1")
daily = connection.execute(
    f"SELECT ChargePeriodStart::DATE AS ChargeDate, {', '.join(KEYS)}, count(*), {sums}"
    f" FROM read_parquet({FILES!r}) GROUP BY ALL"
).fetchall()
tags = connection.execute(
    f"SELECT BillingCurrency, ChargeCategory, Tags['user:team'] AS team, count(*), {sums}"
    f" FROM read_parquet({FILES!r}) GROUP BY ALL"
).fetchall()
print(len(daily), len(tags))
