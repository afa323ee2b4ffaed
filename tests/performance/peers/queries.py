"""What the peers add up: the daily roll-up's keys, and the files of the bill."""

import sys
from pathlib import Path

from flows.cost_report.tables import COSTS, DAILY_KEYS

KEYS = list(DAILY_KEYS)
FILES = sorted(map(str, Path(sys.argv[1]).glob("*/data/*/*.parquet")))
NEEDED = [*COSTS, "ChargePeriodStart", *KEYS, "Tags"]
