# One image: `operator`, `agent`, and `queue` to look at a volume. The build context is made by `npm run image` (dist/image): production dependencies, sources and Node 24 from the
# npm package that carries it. Nothing is fetched in here, so the build needs no network and no package manager's settings enter the image.
# With Docker: `npm run image -- --builder docker --ref registry.example/mtafleet:dev`.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
COPY bin/ /usr/local/bin/
COPY app/ /app/
WORKDIR /app
# The agent keeps nothing but its queue, the operator nothing at all: both run with a read-only root file system.
USER 65532:65532
ENV NODE_ENV=production
# Sources run as they are; what Node made of them when the context was assembled is kept beside them.
ENV NODE_COMPILE_CACHE=/app/.compile-cache NODE_COMPILE_CACHE_PORTABLE=1
ENTRYPOINT ["/usr/local/bin/mtafleet"]
