"""The floor: decode the needed columns, and do nothing with them."""

import pyarrow as pa
import pyarrow.parquet as pq

from tests.performance.peers.queries import FILES, NEEDED

pa.set_cpu_count(1)
rows = 0
for file in FILES:
    for batch in pq.ParquetFile(file).iter_batches(columns=NEEDED, use_threads=False):
        rows += len(batch)
print(rows)
