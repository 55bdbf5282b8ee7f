# A storage server. Build from the top of the source tree:
#   docker build -f Dockerfiles/storage.Dockerfile -t muster-storage .
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev pkg-config \
	libuv1-dev liblmdb-dev libisal-dev libxxhash-dev libssl-dev libcjson-dev libedit-dev uthash-dev \
	libbsd-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j2 all && make install DESTDIR=/out PREFIX=/usr && strip /out/usr/bin/*

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libuv1 liblmdb0 libisal2 libssl3 \
	libbsd0 && rm -rf /var/lib/apt/lists/* \
	&& useradd --system --uid 10001 --home-dir /var/lib/muster --no-create-home muster \
	&& install -d -o muster -g muster -m 700 /var/lib/muster
COPY --from=build /out/usr/bin/muster-storage /usr/bin/
USER muster
ENV MUSTER_DATA=/var/lib/muster
VOLUME /var/lib/muster
# Data over TCP; beacons are heard on UDP 3501.
EXPOSE 3503/tcp 3501/udp
STOPSIGNAL SIGTERM
# Is somebody taking data connections?
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
	CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${MUSTER_PORT:-3503}"]
ENTRYPOINT ["muster-storage"]
