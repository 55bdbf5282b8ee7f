#!/bin/bash
# `make demo`: a whole cluster on this machine, a real tree and a large file stored, a storage server
# killed, everything read back and compared. Loopback only, a cluster name of its own, free ports, a
# fresh directory; nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(realpath "${BUILD_DIR:-build/release}")
tree=${DEMO_TREE:-/usr/include}
size_mib=${DEMO_MIB:-256}
servers=4
dir=$(mktemp -d "${TMPDIR:-/tmp}/muster-demo.XXXXXX")
# The demo neither reads nor changes the settings and state of whoever runs it.
export XDG_STATE_HOME=$dir/state XDG_CONFIG_HOME=$dir/config PATH=$bin:$PATH
unset "${!MUSTER_@}"

finish() {
	muster down --data "$dir/cluster" >"$dir/down.log" 2>&1 || cat "$dir/down.log" >&2
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi; }
now() { date +%s.%N; }
rate() { # BYTES FILES START END -> "1234 files, 120.5 MiB in 3.21 s (37.5 MiB/s)"
	awk -v b="$1" -v f="$2" -v s="$3" -v e="$4" 'BEGIN { t = e - s; m = b / 1048576
		printf "%d file%s, %.1f MiB in %.2f s (%.1f MiB/s)\n", f, f == 1 ? "" : "s", m, t, m / t }'
}
digests() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

step "Starting one name server and $servers storage servers; nobody types an address"
started=$(now)
muster up "$servers" --data "$dir/cluster"
printf 'discovered and registered after %.1f s\n' "$(awk -v a="$started" -v b="$(now)" 'BEGIN { print b - a }')"
muster nodes

step "Storing $tree and a file of $size_mib MiB, 3 copies each"
mkdir "$dir/source"
cp -rL "$tree" "$dir/source/tree"
head -c "${size_mib}M" /dev/urandom >"$dir/source/big"
files=$(find "$dir/source/tree" -type f | wc -l)
bytes=$(find "$dir/source/tree" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')

t0=$(now); muster put -r "$dir/source/tree" /tree; t1=$(now)
put_tree=$(rate "$bytes" "$files" "$t0" "$t1")
t0=$(now); muster put "$dir/source/big" /big; t1=$(now)
put_big=$(rate "$((size_mib << 20))" 1 "$t0" "$t1")
muster ls -l /
muster ls /tree | head -5 || true
muster stat /big

step "Killing a storage server with SIGKILL"
victim=$(cat "$dir/cluster/storage-1/pid")
kill -9 "$victim"
printf 'storage-1 (pid %s) is gone\n' "$victim"

step "Reading everything back"
t0=$(now); muster get -r /tree "$dir/back-tree"; t1=$(now)
get_tree=$(rate "$bytes" "$files" "$t0" "$t1")
t0=$(now); muster get /big "$dir/back-big"; t1=$(now)
get_big=$(rate "$((size_mib << 20))" 1 "$t0" "$t1")
muster nodes

step "Comparing SHA-256 of every file"
digests "$dir/source/tree" >"$dir/want"
digests "$dir/back-tree" >"$dir/have"
cmp "$dir/want" "$dir/have"
[ "$(sha256sum <"$dir/source/big")" = "$(sha256sum <"$dir/back-big")" ]

step "All $((files + 1)) files are equal, with one of $servers servers dead"
printf '%-12s %s\n' \
	"put tree" "$put_tree" "put large" "$put_big" "get tree" "$get_tree" "get large" "$get_big"

if [ -t 0 ] && [ -t 1 ]; then
	step "The cluster is yours: try ls, tree, put, get, stat, nodes; exit stops and removes it"
	muster || true
fi
