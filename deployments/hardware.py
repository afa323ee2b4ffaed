"""What a Fargate task may have: CPU units (1024 are one) and MiB of memory.

Source: the table of https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
(task CPU and memory).
"""

from __future__ import annotations

from collections.abc import Iterator

SIZES: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}


def valid(cpu: int, memory: int) -> bool:
    return memory in SIZES.get(cpu, ())


def nearest(cpu: int, memory: int) -> tuple[int, int]:
    """The smallest pair that has as much of both; the largest there is where none has."""
    return next(_at_least(cpu, memory), (16384, SIZES[16384][-1]))


def _at_least(cpu: int, memory: int) -> Iterator[tuple[int, int]]:
    for units, sizes in SIZES.items():
        for size in sizes:
            if units >= cpu and size >= memory:
                yield units, size
