/* What this machine allows: the least code that could do each job, with the same checksums.
 *
 *   floor put COPIES BYTES FILE DIR
 *           a sender reads FILE, a chain of receivers checks, writes and passes on, each ends with
 *           fdatasync; the acknowledgement travels back
 *   floor get BYTES FILE
 *           sendfile with ready checksums, a receiver that checks them
 *   floor append COUNT SIZE DEPTH DIR
 *           DEPTH writers append SIZE bytes each; those that wait share a fdatasync
 *   floor echo CONNECTIONS DEPTH REQUEST REPLY COUNT [SYNC DIR]
 *           pipelined requests to one thread that answers with REPLY bytes; with SYNC it appends
 *           that many bytes for each and answers after a shared fdatasync
 * Prints one JSON line: {"seconds": …, "per_second": …}. Loopback only. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"

enum { PIECE = 1024 * 1024, CRCS = PIECE / BLOCK_SIZE * 4, COPIES = 9, CONNECTIONS = 64 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void report(double seconds, double count)
{
	printf("{\"seconds\": %.6f, \"per_second\": %.1f}\n", seconds, count / seconds);
}

static size_t piece_of(size_t left)
{
	return left < PIECE ? left : PIECE;
}

/* ---- sockets ---- */

static int listen_any(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	must(s >= 0 && !bind(s, (struct sockaddr *)&a, size) && !listen(s, CONNECTIONS), "listen");
	getsockname(s, (struct sockaddr *)&a, &size);
	*port = ntohs(a.sin_port);
	return s;
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	must(s >= 0 && !connect(s, (struct sockaddr *)&a, sizeof(a)), "connect");
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return s;
}

static int take(int listener)
{
	int s = accept(listener, NULL, NULL), on = 1;

	must(s >= 0, "accept");
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return s;
}

static void send_all(int s, const void *data, size_t size, int flags)
{
	const char *p = data;

	while (size) {
		ssize_t n = send(s, p, size, flags | MSG_NOSIGNAL);

		must(n > 0, "send");
		p += n;
		size -= (size_t)n;
	}
}

static void recv_all(int s, void *data, size_t size)
{
	char *p = data;

	while (size) {
		ssize_t n = recv(s, p, size, 0);

		must(n > 0, "recv");
		p += n;
		size -= (size_t)n;
	}
}

/* ---- put: a chain ---- */

struct hop {
	int listener;
	uint16_t next; /* 0: the last */
	size_t bytes;
	char path[512];
};

static void hop_run(const struct hop *hop)
{
	int from = take(hop->listener), to = hop->next ? dial(hop->next) : -1;
	int file = open(hop->path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	uint8_t *data = aligned_alloc(4096, PIECE), crcs[CRCS], ok = 1;
	struct digest_stream *digest = digest_stream_new();

	must(file >= 0 && data && digest, hop->path);
	for (size_t left = hop->bytes, n; left; left -= n) {
		n = piece_of(left);
		recv_all(from, crcs, block_count(n) * 4);
		recv_all(from, data, n);
		must(crc32c_blocks_match(data, n, crcs), "checksum");
		if (to >= 0) {
			send_all(to, crcs, block_count(n) * 4, MSG_MORE);
			send_all(to, data, n, 0);
		}
		digest_stream_add(digest, data, n);
		must(write(file, data, n) == (ssize_t)n, "write");
	}
	must(!fdatasync(file), "fdatasync");
	if (to >= 0)
		recv_all(to, &ok, 1);
	send_all(from, &ok, 1, 0);
	exit(0);
}

static void put_send(int s, int file, size_t bytes)
{
	uint8_t *data = aligned_alloc(4096, PIECE), crcs[CRCS], ok;
	struct digest_stream *digest = digest_stream_new();

	must(data && digest, "memory");
	for (size_t left = bytes, n; left; left -= n) {
		n = piece_of(left);
		must(read(file, data, n) == (ssize_t)n, "read");
		crc32c_blocks(data, n, crcs);
		digest_stream_add(digest, data, n);
		send_all(s, crcs, block_count(n) * 4, MSG_MORE);
		send_all(s, data, n, 0);
	}
	recv_all(s, &ok, 1);
}

static void put(int copies, size_t bytes, const char *source, const char *dir)
{
	struct hop hops[COPIES];
	uint16_t ports[COPIES + 1] = { 0 };
	int file = open(source, O_RDONLY);
	double start;

	must(file >= 0 && copies >= 1 && copies <= COPIES, source);
	for (int i = 0; i < copies; i++)
		hops[i].listener = listen_any(&ports[i]);
	for (int i = 0; i < copies; i++) {
		hops[i].next = ports[i + 1];
		hops[i].bytes = bytes;
		snprintf(hops[i].path, sizeof(hops[i].path), "%s/floor-%d", dir, i);
		if (fork() == 0)
			hop_run(&hops[i]);
	}
	start = now();
	put_send(dial(ports[0]), file, bytes);
	report(now() - start, (double)bytes);
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < copies; i++)
		unlink(hops[i].path);
}

/* ---- get ---- */

static void get_serve(int listener, size_t bytes, int file, const uint8_t *crcs)
{
	int s = take(listener);
	off_t at = 0;
	uint8_t ok;

	for (size_t left = bytes, n; left; left -= n) {
		off_t end;

		n = piece_of(left);
		end = at + (off_t)n;
		send_all(s, crcs, block_count(n) * 4, MSG_MORE);
		crcs += block_count(n) * 4;
		while (at < end)
			must(sendfile(s, file, &at, (size_t)(end - at)) > 0, "sendfile");
	}
	recv_all(s, &ok, 1);
	exit(0);
}

static uint8_t *file_crcs(int file, size_t bytes)
{
	uint8_t *crcs = malloc(block_count(bytes) * 4), *data = malloc(PIECE), *at = crcs;

	must(crcs && data, "memory");
	for (size_t done = 0, n; done < bytes; done += n) {
		n = piece_of(bytes - done);
		must(pread(file, data, n, (off_t)done) == (ssize_t)n, "read");
		crc32c_blocks(data, n, at);
		at += block_count(n) * 4;
	}
	free(data);
	return crcs;
}

static void get(size_t bytes, const char *source)
{
	uint16_t port;
	int listener = listen_any(&port), file = open(source, O_RDONLY), s;
	uint8_t *crcs, *data = aligned_alloc(4096, PIECE), got[CRCS], ok = 1;
	struct digest_stream *digest = digest_stream_new();
	double start;

	must(file >= 0 && data && digest, source);
	crcs = file_crcs(file, bytes);
	if (fork() == 0)
		get_serve(listener, bytes, file, crcs);
	start = now();
	s = dial(port);
	for (size_t left = bytes, n; left; left -= n) {
		n = piece_of(left);
		recv_all(s, got, block_count(n) * 4);
		recv_all(s, data, n);
		must(crc32c_blocks_match(data, n, got), "checksum");
		digest_stream_add(digest, data, n);
	}
	report(now() - start, (double)bytes);
	send_all(s, &ok, 1, 0);
	wait(NULL);
}

/* ---- append: group commit ---- */

struct log {
	pthread_mutex_t lock;
	pthread_cond_t synced;
	int file;
	size_t size;           /* of one append */
	unsigned long wanted;  /* appends still to start */
	unsigned long written; /* appends whose bytes are in the file */
	unsigned long durable; /* appends that a sync covers */
	bool syncing;
};

/* Whoever finds no sync running does one for everybody who has written by then. */
static void log_wait(struct log *log, unsigned long mine)
{
	while (log->durable < mine) {
		unsigned long covered = log->written;

		if (log->syncing) {
			pthread_cond_wait(&log->synced, &log->lock);
			continue;
		}
		log->syncing = true;
		pthread_mutex_unlock(&log->lock);
		must(!fdatasync(log->file), "fdatasync");
		pthread_mutex_lock(&log->lock);
		log->syncing = false;
		log->durable = covered;
		pthread_cond_broadcast(&log->synced);
	}
}

static void *append_run(void *context)
{
	struct log *log = context;
	uint8_t *data = calloc(1, log->size);

	must(data != NULL, "memory");
	pthread_mutex_lock(&log->lock);
	while (log->wanted > 0) {
		log->wanted--;
		must(write(log->file, data, log->size) == (ssize_t)log->size, "write");
		log_wait(log, ++log->written);
	}
	pthread_mutex_unlock(&log->lock);
	free(data);
	return NULL;
}

static int log_file(const char *dir)
{
	char path[512];
	int file;

	snprintf(path, sizeof(path), "%s/floor-log", dir);
	file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	must(file >= 0, path);
	unlink(path);
	return file;
}

static void append(unsigned long count, size_t size, int depth, const char *dir)
{
	struct log log = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .synced = PTHREAD_COND_INITIALIZER,
			   .file = log_file(dir),
			   .size = size,
			   .wanted = count };
	pthread_t threads[CONNECTIONS];
	double start = now();

	must(depth >= 1 && depth <= CONNECTIONS, "depth");
	for (int i = 0; i < depth; i++)
		must(!pthread_create(&threads[i], NULL, append_run, &log), "thread");
	for (int i = 0; i < depth; i++)
		pthread_join(threads[i], NULL);
	report(now() - start, (double)count);
}

/* ---- echo: one thread answers many pipelined connections ---- */

struct echo {
	int connections;
	unsigned long depth, count;
	size_t request, reply, sync;
	const char *dir;
};

/* Reads what is there; returns how many whole requests that completes. */
static unsigned long echo_read(int s, size_t request, size_t *partial)
{
	static uint8_t buffer[256 * 1024];
	ssize_t n = recv(s, buffer, sizeof(buffer), MSG_DONTWAIT);
	unsigned long whole;

	if (n <= 0) {
		must(n == 0 || errno == EAGAIN, "recv");
		return 0;
	}
	whole = (*partial + (size_t)n) / request;
	*partial = (*partial + (size_t)n) % request;
	return whole;
}

static void echo_serve(const struct echo *echo, int listener)
{
	struct pollfd fds[CONNECTIONS];
	size_t partial[CONNECTIONS] = { 0 };
	unsigned long ready[CONNECTIONS], served = 0;
	int file = echo->sync ? log_file(echo->dir) : -1;
	uint8_t *out = calloc(echo->depth, echo->reply > echo->sync ? echo->reply : echo->sync);

	must(out != NULL, "memory");
	for (int i = 0; i < echo->connections; i++)
		fds[i] = (struct pollfd){ .fd = take(listener), .events = POLLIN };
	while (served < echo->count) {
		unsigned long turn = 0;

		poll(fds, (nfds_t)echo->connections, -1);
		for (int i = 0; i < echo->connections; i++) {
			ready[i] = fds[i].revents ? echo_read(fds[i].fd, echo->request, &partial[i])
						  : 0;
			turn += ready[i];
			if (echo->sync && ready[i])
				must(write(file, out, ready[i] * echo->sync) > 0, "write");
		}
		if (echo->sync && turn)
			must(!fdatasync(file), "fdatasync");
		for (int i = 0; i < echo->connections; i++)
			if (ready[i])
				send_all(fds[i].fd, out, ready[i] * echo->reply, 0);
		served += turn;
	}
	exit(0);
}

static void echo_ask(const struct echo *echo, uint16_t port)
{
	struct pollfd fds[CONNECTIONS];
	size_t partial[CONNECTIONS] = { 0 };
	unsigned long sent = 0, done = 0;
	uint8_t *out = calloc(echo->depth, echo->request);

	must(out != NULL, "memory");
	for (int i = 0; i < echo->connections; i++) {
		fds[i] = (struct pollfd){ .fd = dial(port), .events = POLLIN };
		send_all(fds[i].fd, out, echo->depth * echo->request, 0);
		sent += echo->depth;
	}
	while (done < echo->count) {
		poll(fds, (nfds_t)echo->connections, -1);
		for (int i = 0; i < echo->connections; i++) {
			unsigned long got =
				fds[i].revents ? echo_read(fds[i].fd, echo->reply, &partial[i]) : 0;
			unsigned long more = echo->count - sent < got ? echo->count - sent : got;

			done += got;
			sent += more;
			if (more)
				send_all(fds[i].fd, out, more * echo->request, 0);
		}
	}
}

static void echo(const struct echo *how)
{
	uint16_t port;
	int listener = listen_any(&port);
	double start;

	must(how->connections >= 1 && how->connections <= CONNECTIONS, "connections");
	must(how->count >= how->depth * (unsigned long)how->connections, "count");
	if (fork() == 0)
		echo_serve(how, listener);
	start = now();
	echo_ask(how, port);
	report(now() - start, (double)how->count);
	wait(NULL);
}

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "put"))
		put((int)number(argv[2]), number(argv[3]), argv[4], argv[5]);
	else if (argc == 4 && !strcmp(argv[1], "get"))
		get(number(argv[2]), argv[3]);
	else if (argc == 6 && !strcmp(argv[1], "append"))
		append(number(argv[2]), number(argv[3]), (int)number(argv[4]), argv[5]);
	else if ((argc == 7 || argc == 9) && !strcmp(argv[1], "echo"))
		echo(&(struct echo){ .connections = (int)number(argv[2]),
				     .depth = number(argv[3]),
				     .request = number(argv[4]),
				     .reply = number(argv[5]),
				     .count = number(argv[6]),
				     .sync = argc == 9 ? number(argv[7]) : 0,
				     .dir = argc == 9 ? argv[8] : NULL });
	else
		must((errno = EINVAL, false), "usage: floor put|get|append|echo …");
	return 0;
}
