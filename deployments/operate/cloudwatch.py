"""What ECS tasks of jobs have written, line by line."""

from __future__ import annotations

from typing import Any

from deployments.operate.installation import Installation, asking, code

_CONTAINER = "job/prefect"  # work_pool's prefix, and the container that prefect-aws runs


def stream_of(task: str) -> str:
    """Of an ECS task's ARN: 'job/prefect/0123…'."""
    return f"{_CONTAINER}/{task.rpartition('/')[2]}"


class Stream:
    """One stream, read from its beginning."""

    def __init__(self, at: Installation, name: str) -> None:
        self._logs: Any = at.client("logs")
        self._group, self._name = at.output("JobLogGroup"), name
        self._token: str | None = None

    def new(self) -> list[str]:
        """The lines since the last time; none as well while the stream is not there."""
        lines: list[str] = []
        with asking(f"read the log {self._group} {self._name}"):
            while True:
                answer = self._page()
                if answer is None:
                    return lines
                lines += [str(event["message"]).rstrip("\n") for event in answer["events"]]
                was, self._token = self._token, answer["nextForwardToken"]
                if self._token == was:  # AWS's way to say that this is the end, for now
                    return lines

    def _page(self) -> Any:
        from botocore.exceptions import ClientError

        more = {"nextToken": self._token} if self._token else {}
        try:
            return self._logs.get_log_events(
                logGroupName=self._group, logStreamName=self._name, startFromHead=True, **more
            )
        except ClientError as error:
            if code(error) == "ResourceNotFoundException":
                return None
            raise
