"""HTTP with nothing but the standard library: this process is to be small."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

ONE = 2.0  # seconds for a request at most
ALL = 5.0  # for all that a run waits for at its end
AGAIN = 0.3
BUSY = (429, 502, 503)  # 503: Prefect's database is locked for the moment


class Asking:
    """Requests that share a deadline."""

    def __init__(self, seconds: float = ALL) -> None:
        self._end = time.monotonic() + seconds

    def __call__(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON; None where it is empty. Raises OSError or ValueError where there is
        no answer, or another than that it is well.
        """
        while True:
            status, told = self._once(method, url, body, headers)
            if status < 300:
                return json.loads(told) if told else None
            if status not in BUSY or self._end - time.monotonic() < AGAIN:
                raise ValueError(f"{url} answered {status}: {told[:200]!r}")
            time.sleep(AGAIN)

    def _once(
        self, method: str, url: str, body: object, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        left = min(ONE, self._end - time.monotonic())
        if left <= 0:
            raise TimeoutError(f"{url}: there is no time left")
        at = urlsplit(url)
        kind = HTTPSConnection if at.scheme == "https" else HTTPConnection
        connection = kind(at.hostname or "", at.port, timeout=left)
        content = None if body is None else json.dumps(body).encode()
        kinds = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, at.path, content, {**(headers or {}), **kinds})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except HTTPException as error:
            raise ValueError(f"{url}: {error!r}") from error
        finally:
            connection.close()


def of_prefect(environment: Mapping[str, str]) -> dict[str, str]:
    """The header by which Prefect's API knows who asks: name and password, or a key."""
    if auth := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
