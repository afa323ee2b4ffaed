"""What a flow reads and writes, said in its signature.

    @flow
    def my_flow(source: Source, destination: Destination): ...

`Source` and `Destination` are plain strings to the flow: a local path or `s3://bucket/prefix`. The
annotation is what makes the job's IAM role: it may list and read a `Source`, and read, write and
replace below a `Destination`; nothing else.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Access:
    """What a flow does with the data that a parameter names."""

    read: bool = False
    write: bool = False


Source = Annotated[str, Access(read=True)]
Destination = Annotated[str, Access(read=True, write=True)]
