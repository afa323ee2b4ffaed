"""This job's read, check and roll-up; with `--unchecked` the roll-up alone."""

import sys

import pyarrow as pa

from flows.cost_report.locate import locate
from flows.cost_report.rules import RULES
from flows.cost_report.scan import prove, scan

pa.set_cpu_count(1)
found = scan(locate(sys.argv[1], None).execution, rules=() if "--unchecked" in sys.argv else RULES)
prove(found)
rollup = found.rollup
print(found.rows, rollup.daily.num_rows, rollup.tags.num_rows, rollup.commitments.num_rows)
