# One image: `operator`, `agent`, `address-holder`, and `queue` to look at a volume. The build context is made by `npm run image` (dist/image): production dependencies, sources and Node 24 from the
# npm package that carries it. On the base of `npm run image` nothing is fetched in here; on a plain Debian the address holder's packages are.
# With Docker: `npm run image -- --builder docker --ref registry.example/mtafleet:dev`.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN { command -v ip && command -v arping && command -v ndptool; } >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends iproute2 iputils-arping libndp-tools && rm -rf /var/lib/apt/lists/* /var/log/*; }
COPY bin/ /usr/local/bin/
COPY app/ /app/
WORKDIR /app
# The agent keeps nothing but its queue, the operator nothing at all: both run with a read-only root file system.
USER 65532:65532
ENV NODE_ENV=production
# Sources run as they are; what Node made of them when the context was assembled is kept beside them.
ENV NODE_COMPILE_CACHE=/app/.compile-cache NODE_COMPILE_CACHE_PORTABLE=1
ENTRYPOINT ["/usr/local/bin/mtafleet"]
