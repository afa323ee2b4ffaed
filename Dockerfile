# One image for flows and for the orchestrator.
#
# The base is Docker's official image from AWS's own mirror, which needs no login and does not count
# CodeBuild's pulls. Its tag moves, so that each build has the latest security fixes; what runs is
# pinned by its digest.
ARG BASE=public.ecr.aws/docker/library/python:3.13-slim-trixie

# --- packages: what requirements/run.txt pins, compiled, without what no run needs --------------------
FROM ${BASE} AS packages
ARG UV=0.13.9
RUN python -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        uv==${UV} \
 && { command -v strip >/dev/null \
      || { apt-get update -qq && apt-get install -qq --no-install-recommends binutils >/dev/null; }; }

COPY requirements/run.txt /run.txt
RUN set -eu; \
    python -m uv venv --quiet --no-project /opt/venv; \
    python -m uv pip install --quiet --python /opt/venv/bin/python --no-cache --link-mode copy \
        --only-binary :all: --require-hashes --requirement /run.txt; \
    cd /opt/venv/lib/python3.13/site-packages; \
    # Tests that packages bring along.
    find . -type d -name tests -prune -exec rm -rf {} +; \
    # What compilers and type checkers read.
    rm -rf /opt/venv/include; \
    find . -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cc' \
        -o -name '*.cpp' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.a' \) -delete; \
    # Arrow's remote procedure calls, to which nothing else links.
    rm pyarrow/flight.py pyarrow/_flight.*.so pyarrow/libarrow_flight.so.* pyarrow/libarrow_python_flight.so*; \
    # The same library under the names that only a linker asks for.
    find pyarrow -name 'libarrow_python*.so' -delete -o -name 'libarrow_python*.so.*.*' -delete; \
    # Examples in botocore's documentation, and AWS's interfaces of former years (EC2's, CloudFront's):
    # the newest is what a client speaks. All services are kept.
    find botocore/data -name 'examples-*.json' -delete; \
    for service in botocore/data/*/; do ls -d "$service"*/ | sort | head -n -1 | xargs -r rm -r; done; \
    # A Prefect server copies its pages to where it serves them from when it starts, which it may not
    # do here: they move there now. (Links that Prefect prints lead to the first of its two UIs.)
    PREFECT_HOME=/tmp/prefect /opt/venv/bin/python -c \
        'from prefect.server.api.server import create_ui_app as copy; copy(ephemeral=False)'; \
    find prefect/server/ui prefect/server/ui-v2 -mindepth 1 -delete; \
    chmod -R a+rX prefect/server/ui_build prefect/server/ui_v2_build; \
    # Debuggers' symbols. Not in what auditwheel has patched (numpy's): strip may break that.
    find . -name '*.so*' -type f -not -path './numpy*' -exec strip --strip-unneeded {} +; \
    find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A process that may not write cannot keep what it compiles, and would compile at every start. The
# files never change: nothing needs to be compared with its source. The official image's standard
# library is not compiled either.
RUN set -eu; \
    compile() { python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$@"; }; \
    # All but what nobody imports as a rule and what is large.
    compile -x 'pygments/(lexers|styles)/[a-z]|apprise/plugins/.|numpy/f2py/|prefect/testing/|sqlalchemy/(testing|dialects/(mssql|mysql|oracle))/' \
        /opt/venv/lib; \
    library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    compile -x '/(site-packages|test|idlelib|tkinter|turtledemo|ensurepip|pydoc_data)/' "$library"; \
    mkdir -p /extra/etc; \
    find "$library" -name __pycache__ -not -path '*/site-packages/*' -exec cp -a --parents {} /extra \; ; \
    # Some code asks who it is.
    { cat /etc/passwd; echo 'nightshift:x:10001:10001::/tmp:/usr/sbin/nologin'; } >/extra/etc/passwd

# A database of Prefect's with every table and nothing in it, for an installation's first start: making
# one takes a small task as long as the rest of its start. The orchestrator looks for it below its
# sys.prefix, at share/nightshift/prefect.db. VACUUM INTO writes one file that needs no other beside it.
RUN set -eu; \
    export PREFECT_HOME=/tmp/seed PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1; \
    /opt/venv/bin/python -B -m prefect server database upgrade --yes; \
    mkdir -p /opt/venv/share/nightshift; \
    /opt/venv/bin/python -B -c 'import sqlite3; sqlite3.connect("/tmp/seed/prefect.db").execute( \
        "VACUUM INTO \"/opt/venv/share/nightshift/prefect.db\"")'

# --- code: ours, compiled -----------------------------------------------------------------------------
FROM ${BASE} AS code
WORKDIR /opt/nightshift
COPY prefect.yaml ./
COPY flows flows
COPY deployments deployments
RUN python -m compileall -q --invalidation-mode unchecked-hash .

# --- the image: nothing runs here, so that nothing of the build can stay ------------------------------
FROM ${BASE}
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
COPY --from=packages /extra /
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/nightshift
COPY --from=code /opt/nightshift .

# The one place where a run may write. ECS gives an empty volume to root with mode 0755, unless the
# image says otherwise: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
# Declared here, it has the mode of the base's /tmp, in which all may write.
VOLUME /tmp
USER 10001:10001

ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title=nightshift \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE}
