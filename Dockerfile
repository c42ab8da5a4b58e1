# The project's images: `gateway` (no torch), `reward-server`, `trainer`. The generator is vLLM's
# own image. docs/image.md tells the build arguments and how to run what is built.
#
# A final image holds its base, a layer of dependencies and a small layer with the project; pip,
# the wheel and the sources stay in stages that are left behind.

ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
# Base of the images with torch. torch's own wheels bring CUDA's libraries, so it need not.
ARG CUDA_IMAGE=${PYTHON_IMAGE}

# ---------------------------------------------------------------- pip, requirements, the wheel

FROM ${PYTHON_IMAGE} AS tools
ARG PIP_ARGS
COPY constraints/main.txt /requirements/constraints.txt
# The base's own pip may take four times as long over the pages of an index.
# PIP_ARGS is a list of arguments.
# hadolint ignore=SC2086
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir ${PIP_ARGS} \
    --constraint /requirements/constraints.txt --target /pip pip \
    && rm -r /venv
WORKDIR /src
COPY pyproject.toml scripts/image_requirements.py ./
RUN python3 image_requirements.py > /requirements/gateway.txt \
    && python3 image_requirements.py embedded reward-server > /requirements/reward-server.txt \
    && python3 image_requirements.py trainers > /requirements/trainer.txt

FROM tools AS wheel
ARG PIP_ARGS
COPY LICENSE README.md ./
COPY bon_common bon_common
COPY bon_gateway bon_gateway
COPY reward_server reward_server
COPY trainers trainers
# hadolint ignore=SC2086
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 /pip/pip wheel --no-cache-dir --no-deps ${PIP_ARGS} --wheel-dir /wheels .

# ------------------------------------------------------------------------------- dependencies

FROM ${PYTHON_IMAGE} AS gateway-base
ARG PIP_ARGS
RUN python3 -m venv --without-pip /app
COPY --from=tools /requirements/constraints.txt /requirements/gateway.txt /app/requirements/
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/pip,target=/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 /pip/pip --python /app/bin/python3 install --no-cache-dir ${PIP_ARGS} \
    --constraint /app/requirements/constraints.txt --requirement /app/requirements/gateway.txt
# HOME: the root file system may be read-only, and /tmp is what is writable then. USER: the user
# has no line in /etc/passwd, and libraries ask for a name.
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=bon

FROM ${CUDA_IMAGE} AS torch-base
ARG PIP_ARGS
ARG TORCH_INDEX_URL
RUN python3 -m venv --without-pip /app
COPY --from=tools /requirements/constraints.txt /requirements/reward-server.txt /app/requirements/
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/pip,target=/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 /pip/pip --python /app/bin/python3 install --no-cache-dir ${PIP_ARGS} \
    ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"} \
    --constraint /app/requirements/constraints.txt \
    --requirement /app/requirements/reward-server.txt
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=bon

FROM torch-base AS trainer-base
ARG PIP_ARGS
COPY --from=tools /requirements/trainer.txt /app/requirements/
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/pip,target=/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 /pip/pip --python /app/bin/python3 install --no-cache-dir ${PIP_ARGS} \
    --constraint /app/requirements/constraints.txt --requirement /app/requirements/trainer.txt

# ---------------------------------- the project itself, installed for the Python of either base

FROM gateway-base AS gateway-project
COPY --from=tools /pip /pip
COPY --from=wheel /wheels /wheels
RUN python3 /pip/pip --python /app/bin/python3 install --no-cache-dir --no-deps --no-index \
    --prefix /project /wheels/*.whl
COPY scripts/image_health.py /project/bin/

FROM torch-base AS torch-project
COPY --from=tools /pip /pip
COPY --from=wheel /wheels /wheels
RUN python3 /pip/pip --python /app/bin/python3 install --no-cache-dir --no-deps --no-index \
    --prefix /project /wheels/*.whl
COPY scripts/image_health.py /project/bin/

# ------------------------------------------------------------------------------------- gateway

FROM gateway-base AS gateway
COPY --from=gateway-project /project /app
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/app/bin/bon-gateway"]
CMD ["serve", "--config", "/etc/bon-gateway/config.yaml"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/app/bin/python3", "/app/bin/image_health.py", "BON_GATEWAY__SERVER__PORT", "8080"]
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="bon-gateway" \
      org.opencontainers.image.description="OpenAI-compatible Best-of-N gateway for vLLM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# ------------------------------------------------------------------------------- reward server

FROM torch-base AS reward-server
COPY --from=torch-project /project /app
WORKDIR /tmp
USER 10001:10001
EXPOSE 8081
ENTRYPOINT ["/app/bin/reward-server"]
# A large model takes minutes to load; until then nobody answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 \
    CMD ["/app/bin/python3", "/app/bin/image_health.py", "REWARD_SERVER_PORT", "8081"]
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="bon-reward-server" \
      org.opencontainers.image.description="Batched reward server of bon-gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# ------------------------------------------------------------------------------------- trainer

FROM trainer-base AS trainer
COPY --from=torch-project /project /app
WORKDIR /tmp
USER 10001:10001
# A container's first process ignores SIGTERM until bon-train has begun; SIGINT ends it at any time.
STOPSIGNAL SIGINT
ENTRYPOINT ["/app/bin/bon-train"]
CMD ["--help"]
HEALTHCHECK NONE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="bon-trainer" \
      org.opencontainers.image.description="Offline trainers of bon-gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
