"""What happens in a local cloud, told with the seconds since it began."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable


def teller() -> Callable[[str], None]:
    """Prints a line at a time, from whichever thread."""
    began = time.monotonic()
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            print(f"{time.monotonic() - began:6.1f}  {text}", file=sys.stderr, flush=True)

    return say
