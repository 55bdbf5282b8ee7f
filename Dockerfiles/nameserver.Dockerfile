# The name server. Build from the top of the source tree:
#   docker build -f Dockerfiles/nameserver.Dockerfile -t muster-nameserver .
# With a shell of the store on its terminal:
#   docker run -it --network host muster-nameserver --console
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev pkg-config \
	libuv1-dev liblmdb-dev libisal-dev libxxhash-dev libssl-dev libcjson-dev libedit-dev uthash-dev \
	libbsd-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j2 all && make install DESTDIR=/out PREFIX=/usr && strip /out/usr/bin/*

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libuv1 liblmdb0 libisal2 libssl3 \
	libcjson1 libedit2 libbsd0 && rm -rf /var/lib/apt/lists/* \
	&& useradd --system --uid 10001 --home-dir /var/lib/muster --no-create-home muster \
	&& install -d -o muster -g muster -m 700 /var/lib/muster
COPY --from=build /out/usr/bin/muster-nameserver /out/usr/bin/muster /usr/bin/
USER muster
ENV MUSTER_DATA=/var/lib/muster
VOLUME /var/lib/muster
# Control over TCP; beacons leave by UDP 3501.
EXPOSE 6235/tcp 3501/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s \
	CMD ["muster", "--nameserver", "127.0.0.1", "--timeout", "3", "--quiet", "status"]
ENTRYPOINT ["muster-nameserver"]
