/* How many requests a name server answers: 8 connections that pipeline.
 *
 *   bench_nameserver [CREATES [STATS [PORT [PER_DIRECTORY]]]]
 *
 * Makes CREATES files (100000) in directories of PER_DIRECTORY (1000), then asks STATS
 * times (500000) about one. Without PORT it starts muster-nameserver of its own build on an empty
 * directory and ends it.
 * Prints one JSON line for each: {"bench": …, "count": …, "seconds": …, "per_second": …}. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "codec.h"
#include "error.h"
#include "network.h"
#include "random.h"

enum { CONNECTIONS = 8, DEPTH = 64, INPUT_SIZE = 256 * 1024 };

struct connection {
	int socket;
	uint64_t operation;
	unsigned int outstanding;
	struct buffer out;
	uint8_t in[INPUT_SIZE];
	size_t in_size;
};

struct bench;
typedef void ask_fn(struct bench *bench, struct connection *connection, uint64_t number);

struct bench {
	struct connection connections[CONNECTIONS];
	ask_fn *ask;
	uint64_t count; /* requests to send in all */
	uint64_t sent;
	uint64_t answered;
	uint64_t files;
	uint64_t per_directory;
	struct prng prng;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_nameserver: %s\n", what);
	exit(EXIT_FAILURE);
}

/* ---- requests */

static struct slice file_path(const struct bench *bench, uint64_t number, char space[64])
{
	int size = snprintf(space, 64, "/d%05llu/file-%llu",
			    (unsigned long long)(number / bench->per_directory),
			    (unsigned long long)number);

	return (struct slice){ (uint8_t *)space, (size_t)size };
}

static void ask_mkdir(struct bench *bench, struct connection *connection, uint64_t number)
{
	char path[64];
	int size = snprintf(path, sizeof(path), "/d%05llu", (unsigned long long)number);
	uint64_t operation = ++connection->operation;
	struct mkdir_request request = {
		.operation = operation,
		.outstanding = operation > DEPTH ? operation - DEPTH : 1,
		.flags = MKDIR_PARENTS,
		.path = { (uint8_t *)path, (size_t)size },
	};

	(void)bench;
	request_encode(&connection->out, MSG_mkdir, (uint32_t)number, &request);
}

static void ask_create(struct bench *bench, struct connection *connection, uint64_t number)
{
	char path[64];
	uint64_t operation = ++connection->operation;
	struct create_request request = {
		.operation = operation,
		.outstanding = operation > DEPTH ? operation - DEPTH : 1,
		.path = file_path(bench, number, path),
	};

	request_encode(&connection->out, MSG_create, (uint32_t)number, &request);
}

static void ask_stat(struct bench *bench, struct connection *connection, uint64_t number)
{
	char path[64];
	struct stat_request request = {
		.path = file_path(bench, prng_below(&bench->prng, bench->files), path),
	};

	request_encode(&connection->out, MSG_stat, (uint32_t)number, &request);
}

/* ---- the pipeline */

static void connection_fill(struct bench *bench, struct connection *connection)
{
	while (connection->outstanding < DEPTH && bench->sent < bench->count) {
		bench->ask(bench, connection, bench->sent++);
		connection->outstanding++;
	}
}

static void connection_write(struct connection *connection)
{
	ssize_t put =
		send(connection->socket, connection->out.data, connection->out.size, MSG_NOSIGNAL);

	must(put >= 0 || errno == EAGAIN, "the connection broke");
	if (put > 0)
		buffer_consume(&connection->out, (size_t)put);
}

static void connection_read(struct bench *bench, struct connection *connection)
{
	ssize_t got = recv(connection->socket, connection->in + connection->in_size,
			   INPUT_SIZE - connection->in_size, 0);
	struct frame_header header;
	size_t at = 0, size;

	must(got > 0 || (got < 0 && errno == EAGAIN), "the name server hung up");
	if (got > 0)
		connection->in_size += (size_t)got;
	while (frame_next(connection->in + at, connection->in_size - at, &header, &size) == 1) {
		must(header.status == 0, error_name(header.status));
		connection->outstanding--;
		bench->answered++;
		at += size;
	}
	connection->in_size -= at;
	memmove(connection->in, connection->in + at, connection->in_size);
}

static void bench_turn(struct bench *bench)
{
	struct pollfd polls[CONNECTIONS];

	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &bench->connections[i];

		connection_fill(bench, connection);
		if (connection->out.size > 0)
			connection_write(connection);
		polls[i] = (struct pollfd){ .fd = connection->socket, .events = POLLIN };
		if (connection->out.size > 0)
			polls[i].events |= POLLOUT;
	}
	poll(polls, CONNECTIONS, -1);
	for (int i = 0; i < CONNECTIONS; i++) {
		if (polls[i].revents & ~POLLOUT)
			connection_read(bench, &bench->connections[i]);
	}
}

static void bench_run(struct bench *bench, const char *name, ask_fn *ask, uint64_t count)
{
	uint64_t began = clock_monotonic_ns();
	double seconds;

	bench->ask = ask;
	bench->count = count;
	bench->sent = bench->answered = 0;
	while (bench->answered < count)
		bench_turn(bench);
	seconds = (double)(clock_monotonic_ns() - began) * 1e-9;
	printf("{\"bench\": \"%s\", \"count\": %llu, \"seconds\": %.3f, \"per_second\": %.0f}\n",
	       name, (unsigned long long)count, seconds, (double)count / seconds);
	fflush(stdout);
}

/* ---- connections and the name server */

static bool hello(struct connection *connection)
{
	struct hello_request request = { .versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
					 .role = ROLE_CLIENT };
	struct pollfd poller = { .fd = connection->socket, .events = POLLIN };
	struct frame_header header;
	size_t size;
	ssize_t got;

	random_bytes(&request.self, sizeof(request.self));
	request_encode(&connection->out, MSG_hello, 1, &request);
	connection_write(connection);
	poll(&poller, 1, -1);
	got = recv(connection->socket, connection->in, INPUT_SIZE, 0);
	return got > 0 && frame_next(connection->in, (size_t)got, &header, &size) == 1 &&
	       header.status == 0;
}

static bool connection_open(struct connection *connection, uint16_t port)
{
	struct address address = { 0x7f000001, port };
	struct pollfd poller = { .events = POLLOUT };

	connection->socket = poller.fd = tcp_connect(&address);
	if (connection->socket < 0)
		return false;
	poll(&poller, 1, -1);
	if (tcp_connected(connection->socket) == 0 && hello(connection))
		return true;
	close(connection->socket);
	return false;
}

static void bench_connect(struct bench *bench, uint16_t port)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		int tries = 500;

		while (!connection_open(&bench->connections[i], port)) {
			must(--tries > 0, "no name server");
			poll(NULL, 0, 10);
		}
	}
}

static uint16_t free_port(void)
{
	struct address address = { 0x7f000001, 0 };
	int fd = tcp_listen(&address);

	must(fd >= 0 && socket_local(fd, &address) == 0, "no port");
	close(fd);
	return address.port;
}

static pid_t nameserver_start(const char *self, const char *directory, uint16_t port)
{
	const char *slash = strrchr(self, '/');
	char program[4096], port_text[8], beacon_port[8];
	pid_t pid;

	snprintf(program, sizeof(program), "%.*s/../muster-nameserver",
		 slash ? (int)(slash - self) : 1, slash ? self : ".");
	snprintf(port_text, sizeof(port_text), "%u", port);
	snprintf(beacon_port, sizeof(beacon_port), "%u", free_port());
	pid = fork();
	if (pid == 0) {
		execl(program, program, "--data", directory, "--cluster", "bench", "--interface",
		      "lo", "--port", port_text, "--beacon-port", beacon_port, "--log-level",
		      "warn", (char *)NULL);
		_exit(127);
	}
	must(pid > 0, "cannot fork");
	return pid;
}

static void directory_remove(const char *directory)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", directory, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char *argv[])
{
	static struct bench bench;
	char directory[] = "/tmp/muster-bench-XXXXXX";
	uint64_t creates = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	uint64_t stats = argc > 2 ? strtoull(argv[2], NULL, 10) : 500000;
	uint16_t port = argc > 3 ? (uint16_t)strtoul(argv[3], NULL, 10) : free_port();
	pid_t pid = 0;

	if (argc <= 3) {
		must(mkdtemp(directory) != NULL, "no temporary directory");
		pid = nameserver_start(argv[0], directory, port);
	}
	bench_connect(&bench, port);
	bench.files = creates;
	bench.per_directory = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000;
	must(bench.per_directory > 0, "no files in a directory");
	if (creates > 0) {
		bench_run(&bench, "mkdir", ask_mkdir, creates / bench.per_directory + 1);
		bench_run(&bench, "create", ask_create, creates);
	}
	if (creates > 0 && stats > 0)
		bench_run(&bench, "stat", ask_stat, stats);
	if (pid > 0) {
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		directory_remove(directory);
	}
	return EXIT_SUCCESS;
}
