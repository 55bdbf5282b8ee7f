# The shell and one-shot command line. Build from the top of the source tree:
#   docker build -f Dockerfiles/client.Dockerfile -t muster-client .
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev pkg-config \
	libuv1-dev liblmdb-dev libisal-dev libxxhash-dev libssl-dev libcjson-dev libedit-dev uthash-dev \
	libbsd-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j2 all && make install DESTDIR=/out PREFIX=/usr && strip /out/usr/bin/*

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libisal2 libssl3 libcjson1 libedit2 \
	libbsd0 && rm -rf /var/lib/apt/lists/* \
	&& useradd --system --uid 10001 --home-dir /data --no-create-home muster \
	&& install -d -o muster -g muster /data
COPY --from=build /out/usr/bin/muster /usr/bin/
USER muster
WORKDIR /data
# Local files to put and get; the shell's history and settings live under it too.
VOLUME /data
# Storage servers connect to the client here.
EXPOSE 3504-3600/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s CMD ["muster", "--timeout", "3", "--quiet", "status"]
ENTRYPOINT ["muster"]
