"""What becomes of `docker`'s arguments on this machine. Decides, and does nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

# What is for another builder than the one here. The machine's own architecture stands for any, the
# engine keeps layers by itself, and no base is pulled that is here: it may be a stand-in, which no
# registry has.
_DROPPED = (
    *("--platform", "--cache-from", "--cache-to", "--provenance", "--sbom", "--attest"),
    *("--progress", "--builder"),
)
_DROPPED_FLAGS = ("--load", "--push", "--pull")
# A build's arguments that end up in labels. podman would take the label of an earlier build's.
_LABELS = {"REVISION": "revision", "SOURCE": "source"}
_SUBCOMMANDS = ("image", "container", "buildx", "builder")
# Options of `run` whose value is the next argument need not be known: what is looked for is there.


@dataclass(frozen=True)
class Call:
    """One of the engine's commands."""

    verb: str  # 'build', 'push', …
    rest: tuple[str, ...]
    tags: tuple[str, ...] = field(default=())  # of a build: the names that it gives
    pushes: bool = False  # a build that pushes what it has made


def localised(arguments: Sequence[str], registries: Mapping[str, str]) -> list[str]:
    """With the registries where they are on this machine."""
    found = list(arguments)
    for host, here in registries.items():
        found = [each.replace(host, here) for each in found]
    return found


def original(name: str, registries: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Of an image's name, the registry's host as AWS has it, the repository and the tag, or
    '@sha256:…'; None if it is of no such registry.
    """
    for host, here in registries.items():
        if name.startswith(f"{here}/"):
            path = name.removeprefix(f"{here}/")
            repository, at, digest = path.partition("@")
            if at:
                return host, repository.partition(":")[0], f"@{digest}"
            repository, _, tag = path.partition(":")
            return host, repository, tag or "latest"
    return None


def call(arguments: Sequence[str], engine: str) -> Call:
    """`arguments`: docker's, `localised`; `engine`: podman or docker."""
    words = list(arguments)
    if len(words) > 1 and words[0] in _SUBCOMMANDS and words[1] in ("build", "push", "pull", "tag"):
        words = words[1:]
    verb, rest = (words[0], words[1:]) if words else ("", [])
    if verb == "build":
        return _build(rest, engine)
    if verb in ("run", "create"):
        return _run(verb, rest, engine)
    if verb in ("pull", "push"):
        rest = _without(rest, ("--platform",), ())
    return Call(verb, tuple(rest))


def _build(rest: Sequence[str], engine: str) -> Call:
    tags = tuple(value for name, value in _pairs(rest) if name in ("--tag", "-t"))
    pushes = "--push" in rest
    kept = _without(rest, _DROPPED, _DROPPED_FLAGS)
    if engine != "podman":
        return Call("build", ("--progress", "plain", *kept), tags, pushes)
    labels: list[str] = []
    for name, value in _pairs(kept):
        key, _, given = value.partition("=")
        if name == "--build-arg" and key in _LABELS:
            labels += ["--label", f"org.opencontainers.image.{_LABELS[key]}={given}"]
    # Docker's format, as the pipeline's Docker pushes it.
    own = ("--layers", "--format", "docker", "--network", "host", *labels)
    return Call("build", (*own, *kept), tags, pushes)


def _run(verb: str, rest: Sequence[str], engine: str) -> Call:
    kept = _without(rest, ("--platform",), ())
    own = []
    if not _has(kept, ("--network", "--net")):
        own += ["--network", "host"]
    if engine == "podman":
        own.append("--http-proxy=false")
        if "--read-only" in kept:  # podman would make /tmp and others writable besides
            own.append("--read-only-tmpfs=false")
    return Call(verb, (*own, *kept))


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """What may be an option with its value, written apart or with =."""
    found = []
    for at, each in enumerate(arguments):
        name, equals, value = each.partition("=")
        if equals and name.startswith("-"):
            found.append((name, value))
        elif each.startswith("-") and at + 1 < len(arguments):
            found.append((each, arguments[at + 1]))
    return found


def _has(arguments: Sequence[str], names: Collection[str]) -> bool:
    return any(each.partition("=")[0] in names for each in arguments)


def _without(
    arguments: Sequence[str], options: Collection[str], flags: Collection[str]
) -> list[str]:
    kept: list[str] = []
    skip = False
    for each in arguments:
        if skip:
            skip = False
        elif each.partition("=")[0] in options:
            skip = "=" not in each
        elif each.partition("=")[0] not in flags:
            kept.append(each)
    return kept
