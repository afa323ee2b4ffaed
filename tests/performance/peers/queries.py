"""The roll-ups as SQL and column lists, the same for every peer: daily, and per tag key and value."""

import sys
from pathlib import Path

from flows.cost_report.tables import COSTS, DAILY_KEYS

KEYS = list(DAILY_KEYS)
FILES = sorted(map(str, Path(sys.argv[1]).glob("*/data/*/*.parquet")))
NEEDED = [*COSTS, "ChargePeriodStart", *KEYS, "Tags"]
