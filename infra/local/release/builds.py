"""CodeBuild: a build that is started runs its buildspec's commands, as the project's role."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from moto.codebuild.exceptions import InvalidInputException, ResourceNotFoundException
from moto.codebuild.models import codebuild_backends

from flows.problem import Problem
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.iam import NotTrusted, assume
from infra.local.release import events
from infra.local.release.build import Build, Ended, Json
from infra.local.release.log import Log
from infra.local.release.runner import ENVIRONMENT, FAILED, SOURCE

Say = Callable[[str], None]

ROOT = Path(__file__).parents[3]
REVISION = "commit"  # of an artifact's metadata in S3: the commit that it is of
_PATIENCE = 20.0  # seconds from SIGTERM to SIGKILL
_PHASES = ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")


@dataclass
class Builds:
    """Those of one local AWS. `shims`: the folder with `docker`, and `sweep` removes what a build's
    containers have left.
    """

    aws: LocalAws
    folder: Path
    shims: Path
    say: Say
    sweep: Callable[[str], None] = lambda _: None
    minute: float = 60.0  # seconds: a test may be in a hurry
    _builds: dict[str, Build] = field(default_factory=dict)  # by id
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    # --- what CodeBuild's API asks ---------------------------------------------------------------

    def start_build(self, request: Json) -> Json:
        """StartBuild's response."""
        name = request["projectName"].split("/")[-1]
        known = codebuild_backends[ACCOUNT][self.aws.region]
        if name not in known.codebuild_projects:
            arn = f"arn:aws:codebuild:{self.aws.region}:{ACCOUNT}:project/{name}"
            raise ResourceNotFoundException(f"Project cannot be found: {arn}")
        project = dict(known.codebuild_projects[name].project_metadata)
        with self._lock:
            if self._closed:
                raise InvalidInputException("the local cloud is stopping")
            build = self._build(project, request)
            self._builds[build.id] = build
            known.build_history.setdefault(name, []).append(build.id)
            thread = threading.Thread(target=self._run, args=[build], name=f"build-{build.uuid}")
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()
        return {"build": build.told()}

    def batch_get_builds(self, request: Json) -> Json:
        found = [self._builds[id_] for id_ in request["ids"] if id_ in self._builds]
        missing = [id_ for id_ in request["ids"] if id_ not in self._builds]
        return {"builds": [build.told() for build in found], "buildsNotFound": missing}

    def stop_build(self, request: Json) -> Json:
        if (build := self._builds.get(request["id"])) is None:
            raise ResourceNotFoundException(f"Build {request['id']} does not exist")
        self._stop(build, "STOPPED")
        return {"build": build.told()}

    def builds(self) -> list[Build]:
        """All there have been, the first first."""
        return list(self._builds.values())

    # --- one build -------------------------------------------------------------------------------

    def _build(self, project: Json, request: Json) -> Build:
        name = project["name"]
        uuid_ = str(uuid.uuid4())
        id_ = f"{name}:{uuid_}"
        version = request.get("sourceVersion") or ""
        now = datetime.now(UTC)
        number = 1 + sum(build.project["name"] == name for build in self._builds.values())
        build = Build(
            id=id_,
            arn=f"arn:aws:codebuild:{self.aws.region}:{ACCOUNT}:build/{id_}",
            number=number,
            project=project,
            source_version=version,
            buildspec=request.get("buildspecOverride")
            or project["source"].get("buildspec")
            or "buildspec.yml",
            region=self.aws.region,
            variables=_variables(project, request),
            began=now,
        )
        # Who starts a project of this type is CodePipeline, whose artifacts begin with its name.
        by = version.partition(":::")[2].split("/")[1:2]
        build.variables |= {
            "CODEBUILD_BUILD_ID": id_,
            "CODEBUILD_BUILD_ARN": build.arn,
            "CODEBUILD_BUILD_NUMBER": str(number),
            "CODEBUILD_BUILD_SUCCEEDING": "1",
            "CODEBUILD_INITIATOR": f"codepipeline/{by[0]}" if by else "somebody",
            "CODEBUILD_LOG_PATH": uuid_,
            "CODEBUILD_SOURCE_VERSION": version,
            "CODEBUILD_START_TIME": str(int(now.timestamp() * 1000)),
        }
        build.phase("SUBMITTED")
        return build

    def _run(self, build: Build) -> None:
        """https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html"""
        self._tell(build)
        folder = self.folder / build.uuid
        log = Log(build)
        status, code, message, phase = "SUCCEEDED", "", "", ""
        try:
            build.phase("QUEUED")
            build.phase("PROVISIONING")
            log.open(self._client(build, "logs"))
            build.phase("DOWNLOAD_SOURCE")
            self._download(build, folder / SOURCE)
            self._commands(build, folder, log)
            build.phase("UPLOAD_ARTIFACTS")
        except Ended as ended:
            status, code, message, phase = ended.status, ended.code, ended.message, ended.phase
        except NotTrusted as error:
            status, code, message = "FAILED", "ACCESS_DENIED", str(error)
        except Exception as error:  # a fault of the emulator's own
            status, code, message = "FAULT", "INTERNAL", f"{type(error).__name__}: {error}"
        finally:
            if phase and build.phases[-1].kind != phase:
                build.phase(phase)
            build.close("SUCCEEDED" if status == "SUCCEEDED" else status, code, message)
            build.phase("FINALIZING")
            self.sweep(build.id)
            log.close()
            shutil.rmtree(folder, ignore_errors=True)
            build.phase("COMPLETED")
            build.status, build.ended = status, datetime.now(UTC)
            self._tell(build)
            seconds = (build.ended - build.began).total_seconds()
            self.say(f"build {build.uuid[:8]} {status.lower()} after {seconds:.0f} s {message}")
            build.over.set()

    def _download(self, build: Build, to: Path) -> None:
        bucket, _, key = build.source_version.removeprefix("arn:aws:s3:::").partition("/")
        try:
            got = self._client(build, "s3").get_object(Bucket=bucket, Key=key)
            content = got["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise Ended("FAILED", "CLIENT_ERROR", str(error)) from error
        build.revision = got["Metadata"].get(REVISION, "")
        build.variables["CODEBUILD_RESOLVED_SOURCE_VERSION"] = build.revision
        to.mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(to)
        if not (to / build.buildspec).is_file():
            raise Ended("FAILED", "YAML_FILE_ERROR", f"stat {build.buildspec}: no such file")

    def _commands(self, build: Build, folder: Path, log: Log) -> None:
        environment = self._environment(build, folder)
        file = folder / ENVIRONMENT
        file.touch(mode=0o600)
        file.write_text(json.dumps({**environment, "BUILDSPEC": build.buildspec}))
        limit = (build.project.get("timeoutInMinutes") or 60) * self.minute
        with self._lock:
            if self._closed or build.ends_as():
                raise Ended("STOPPED", "", "")
            process = build._process = _started(folder)
        timer = threading.Timer(limit, self._stop, args=[build, "TIMED_OUT"])
        timer.start()
        try:
            with process:
                for line in process.stdout or ():
                    self._heard(build, line.rstrip("\n"))
                    log.add(line.rstrip("\n"))
        finally:
            timer.cancel()
        if build.ends_as() == "TIMED_OUT":
            minutes = build.project.get("timeoutInMinutes") or 60
            message = f"Build has timed out after {minutes} minutes."
            raise Ended("TIMED_OUT", "BUILD_TIMED_OUT", message)
        if build.ends_as():
            raise Ended("STOPPED", "", "")
        if process.returncode:
            raise _why(folder)

    def _heard(self, build: Build, line: str) -> None:
        """The runner says "[phase] command" before each command."""
        self.say(f"build {build.uuid[:8]} | {line}")
        word, closed, _ = line.removeprefix("[").partition("] ")
        kind = word.upper()
        if not (line.startswith("[") and closed and kind in _PHASES):
            return
        now = build.phases[-1].kind
        if now not in _PHASES or _PHASES.index(now) < _PHASES.index(kind):
            build.phase(kind)

    def _environment(self, build: Build, folder: Path) -> dict[str, str]:
        """What a build has, and nothing of ours."""
        awscli = Path(sys.prefix) / "awscli" / "bin"
        if not (awscli / "aws").is_file():
            raise Ended(
                "FAILED", "CLIENT_ERROR", "the AWS CLI is not here (fix: make .venv/awscli)"
            )
        home = folder / "home"
        home.mkdir()
        keys = self._keys(build)
        # The AWS CLI's folder has a python3 of its own.
        python = Path(sys.executable).parent
        path = (str(self.shims), str(python), str(awscli), "/usr/bin", "/bin")
        return {
            **build.variables,
            "AWS_DEFAULT_REGION": self.aws.region,
            "AWS_REGION": self.aws.region,
            "AWS_ENDPOINT_URL": self.aws.url,
            **{name.upper(): value for name, value in keys.items()},
            "AWS_EC2_METADATA_DISABLED": "true",
            "CODEBUILD_SRC_DIR": str(folder / SOURCE),
            "DOCKER_CONFIG": str(home / "docker"),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1,localhost",
            "PATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _keys(self, build: Build) -> dict[str, str]:
        project = f"arn:aws:codebuild:{self.aws.region}:{ACCOUNT}:project/{build.project['name']}"
        return assume(
            build.project["serviceRole"],
            "codebuild.amazonaws.com",
            session=f"AWSCodeBuild-{build.uuid}",
            context={"aws:SourceAccount": ACCOUNT, "aws:SourceArn": project},
            region=self.aws.region,
        )

    def _client(self, build: Build, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.aws.url,
            region_name=self.aws.region,
            **self._keys(build),
        )

    def _tell(self, build: Build) -> None:
        events.put(self.aws.region, events.BUILD, build.arn, build.event())

    def _stop(self, build: Build, status: str) -> None:
        with self._lock:
            build._stopping = build._stopping or status
            process = build._process
        if process is not None:
            threading.Thread(target=_end, args=[process], daemon=True).start()

    def close(self) -> None:
        """Ends all of them; comes back when nothing of them is left."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for build in self.builds():
            if not build.over.is_set():
                self._stop(build, "STOPPED")
        for thread in threads:
            thread.join(timeout=60)


def _started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", "infra.local.release.runner", str(folder)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ.get("PATH", os.defpath)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for us, who end it in order
    )


def _end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, on which it ends what it has started; SIGKILL if it does not."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        process.kill()


def _why(folder: Path) -> Ended:
    """Why the buildspec's commands did not come to their end."""
    file = folder / FAILED
    if not file.exists():
        return Ended("FAULT", "INTERNAL", "the program that runs the commands has ended")
    found = json.loads(file.read_text())
    if "problem" in found:
        return Ended("FAILED", "YAML_FILE_ERROR", found["problem"])
    return Ended(
        "FAILED",
        "COMMAND_EXECUTION_ERROR",
        f"Error while executing command: {' '.join(found['command'].split())}. "
        f"Reason: exit status {found['status']}",
        found["phase"].upper(),
    )


def _variables(project: Json, request: Json) -> dict[str, str]:
    """Raises InvalidInputException for a variable that is kept elsewhere."""
    declared: Sequence[Mapping[str, str]] = [
        *(project["environment"].get("environmentVariables") or []),
        *(request.get("environmentVariablesOverride") or []),
    ]
    for each in declared:
        if each.get("type", "PLAINTEXT") != "PLAINTEXT":
            raise InvalidInputException(f"variables of type {each['type']} are not known here")
    return {each["name"]: each["value"] for each in declared}


def needs() -> None:
    """Raises Problem if there is no AWS CLI for builds."""
    if not (Path(sys.prefix) / "awscli" / "bin" / "aws").is_file():
        raise Problem(
            "there is no AWS CLI for the builds of the pipeline",
            where={"folder": Path(sys.prefix) / "awscli"},
            fix="install it: make .venv/awscli",
        )
