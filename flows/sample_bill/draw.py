"""Random numbers that depend on the seed and on what they are for, never on the order of calls."""

from __future__ import annotations

import hashlib
import zlib
from functools import cache

import numpy as np

BASE36 = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


def rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator of its own for each purpose, so that adding one leaves the others alone."""
    keys = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *keys])))


@cache
def code(text: str, length: int) -> str:
    """An identifier as AWS's look (capitals and digits), the same for the same text."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(BASE36[byte % len(BASE36)] for byte in digest[:length])
