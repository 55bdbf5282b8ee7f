#!/bin/sh
# Installs the Debian packages that building and testing need and that are missing.
set -u

packages="gcc g++ libc6-dev make pkg-config libuv1-dev liblmdb-dev libisal-dev libxxhash-dev libssl-dev libcjson-dev
libedit-dev libcmocka-dev uthash-dev libbsd-dev python3 iproute2 nftables dpkg-dev mandoc clang libclang-rt-14-dev
clang-format"

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=""
    [ "$status" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

refuse() {
    echo "deps: $1; missing packages:$missing" >&2
    exit 1
}

command -v apt-get >/dev/null || refuse "no apt-get here"
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || refuse "neither root nor sudo"
    as_root="sudo"
fi
echo "deps: installing$missing"
$as_root apt-get -q update || echo "deps: apt-get update failed, trying with the lists at hand" >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing ||
    refuse "apt-get failed"
