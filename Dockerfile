# Cohort Gateway: all programs in one image. By default it runs the gateway; docker-compose.yml runs the others too.
# Debian's glibc, not Alpine: the wheels of the fast parts (uvloop, httptools, msgspec, hiredis) are built for it.
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/cohort-gateway
ENV PATH=/opt/cohort-gateway/bin:$PATH
# What is pinned changes less often than our code, so it is a layer of its own. It brings the build backend along.
COPY requirements/runtime.txt requirements/runtime.txt
RUN pip install --require-hashes --only-binary :all: --requirement requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY attribute_lists/ attribute_lists/
COPY cohort_sync/ cohort_sync/
COPY event_stream/ event_stream/
COPY fme_client/ fme_client/
COPY foundation/ foundation/
COPY gateway/ gateway/
COPY heap_export/ heap_export/
COPY local_stack/ local_stack/
COPY published/ published/
RUN pip wheel --no-build-isolation --no-deps --wheel-dir /src/dist .
RUN pip install --no-index --no-deps /src/dist/cohort_gateway-*.whl
# Nothing that builds or installs stays in the image.
RUN pip uninstall --yes editables hatchling pathspec pluggy tomlkit trove-classifiers
RUN pip check && pip uninstall --yes setuptools pip

FROM ${PYTHON}
RUN groupadd --gid 10001 cohort && useradd --uid 10001 --gid cohort --no-create-home --home-dir /data cohort && install --directory --owner cohort --group cohort --mode 0700 /data
COPY --from=build /opt/cohort-gateway /opt/cohort-gateway
ENV PATH=/opt/cohort-gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV HOST=0.0.0.0 DATA_DIR=/data
USER cohort
WORKDIR /opt/cohort-gateway
VOLUME /data
# gateway, cohort-sync (Heap's webhook), administration of cohort-sync, heap-export, administration of heap-export
EXPOSE 8000 8001 8002 8003 8004
# http.client, since urllib would ask a proxy of the environment even for loopback.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT', 8000)), timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["cohort-gateway", "serve"]
