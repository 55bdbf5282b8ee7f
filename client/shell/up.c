/* Commands up and down: a whole cluster on this machine, as processes of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "error.h"
#include "network.h"
#include "random.h"
#include "text.h"
#include "up_files.h"

enum {
	SERVERS_DEFAULT = 3,
	READY_MS = 15000,
	STOP_MS = 10000,
	LOOK_MS = 50,
	PROGRAM_MAX = 4096,
	/* Several clusters on one machine shall not lease the same ports to their clients. */
	CLIENT_PORTS_FROM = 10000,
};

extern char **environ;

/* ---- starting ---- */

/* Beside this program, else wherever the shell would find it. */
static const char *program_find(const char *name, char ret[PROGRAM_MAX])
{
	ssize_t size = readlink("/proc/self/exe", ret, PROGRAM_MAX - 1);
	char *slash;

	if (size < 0)
		return name;
	ret[size] = '\0';
	slash = strrchr(ret, '/');
	if (!slash || (size_t)(slash - ret) + strlen(name) + 2 > PROGRAM_MAX)
		return name;
	memcpy(slash + 1, name, strlen(name) + 1);
	return access(ret, X_OK) == 0 ? ret : name;
}

static int tcp_port_free(uint16_t wanted, uint16_t *ret)
{
	struct address address = { .ip = 0x7f000001, .port = wanted };
	int fd = tcp_listen(&address);
	int rc;

	if (fd < 0)
		return fd;
	rc = socket_local(fd, &address);
	close(fd);
	*ret = address.port;
	return rc;
}

static int cluster_create(struct up_cluster *cluster)
{
	uint8_t random[4];
	uint16_t beacon;
	int rc = random_bytes(random, sizeof(random));

	if (rc == 0)
		rc = tcp_port_free(0, &cluster->port);
	if (rc < 0)
		return rc;
	/* Beacons share their port, and ours carry the cluster's name: any number will do. */
	beacon = (uint16_t)(20000 + (random[0] << 8 | random[1]) % 10000);
	cluster->beacon_port = beacon;
	snprintf(cluster->cluster, sizeof(cluster->cluster), "up-%02x%02x%02x%02x", random[0],
		 random[1], random[2], random[3]);
	return 0;
}

/* What the directory says, with a free port: a cluster that was stopped keeps its name. */
static int cluster_prepare(struct up_cluster *cluster)
{
	int rc = directory_make(cluster->dir);

	if (rc == 0)
		rc = up_config_read(cluster);
	if (rc == 0 && up_pid(cluster, 0) > 0)
		return 0;
	if (rc == -ERR_NOT_FOUND)
		rc = cluster_create(cluster);
	if (rc == 0 && tcp_port_free(cluster->port, &cluster->port) < 0)
		rc = tcp_port_free(0, &cluster->port);
	snprintf(cluster->nameserver, sizeof(cluster->nameserver), "127.0.0.1:%u", cluster->port);
	return rc < 0 ? rc : up_config_write(cluster);
}

/* The words of one server's command line. */
struct start {
	char program[PROGRAM_MAX];
	char data[STATE_PATH_MAX];
	char log[STATE_PATH_MAX];
	char port[8];
	char beacon_port[8];
	char client_ports[16];
	char *words[16];
};

static void words_fill(struct start *start, const struct up_cluster *cluster, unsigned int server)
{
	const char *const words[] = {
		start->program,
		"--data",
		start->data,
		"--cluster",
		cluster->cluster,
		"--interface",
		"lo",
		"--port",
		start->port,
		"--beacon-port",
		start->beacon_port,
		server ? NULL : "--client-ports",
		start->client_ports,
	};
	unsigned int first = CLIENT_PORTS_FROM + cluster->beacon_port % 100u * 100;

	snprintf(start->port, sizeof(start->port), "%u", server ? 0 : cluster->port);
	snprintf(start->beacon_port, sizeof(start->beacon_port), "%u", cluster->beacon_port);
	snprintf(start->client_ports, sizeof(start->client_ports), "%u-%u", first, first + 96);
	/* exec() takes them as writable and leaves them alone. */
	for (unsigned int i = 0; i < ARRAY_SIZE(words) && words[i]; i++)
		start->words[i] = (char *)(uintptr_t)words[i];
}

static int start_prepare(struct start *start, const struct up_cluster *cluster, unsigned int server)
{
	const char *name = server ? "muster-storage" : "muster-nameserver";
	const char *found;
	int rc = up_path(cluster, server, "data", start->data);

	if (rc == 0)
		rc = up_path(cluster, server, "log", start->log);
	memset(start->words, 0, sizeof(start->words));
	found = program_find(name, start->program);
	if (found != start->program)
		memcpy(start->program, found, strlen(found) + 1);
	words_fill(start, cluster, server);
	return rc < 0 ? rc : directory_make(start->data);
}

/* Only what every program needs: MUSTER_… would reach the servers too. */
static char **environment_plain(void)
{
	size_t count = 0;
	char **plain;

	while (environ[count])
		count++;
	plain = calloc(count + 1, sizeof(*plain));
	for (size_t i = 0, used = 0; plain && i < count; i++) {
		if (strncmp(environ[i], "MUSTER_", 7) != 0)
			plain[used++] = environ[i];
	}
	return plain;
}

static int spawn(const struct start *start, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t defaults;
	char **plain = environment_plain();
	int os;

	if (!plain)
		return -ERR_NO_MEMORY;
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGINT);
	sigaddset(&defaults, SIGHUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, start->log, O_WRONLY | O_CREAT | O_APPEND,
					 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&how, &defaults);
	os = posix_spawnp(ret, start->program, &files, &how, start->words, plain);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	free(plain);
	return os ? error_from_errno(os) : 0;
}

static int server_start(struct call *call, const struct up_cluster *cluster, unsigned int server)
{
	struct start start;
	pid_t pid;
	int rc;

	if (up_pid(cluster, server) > 0)
		return STATUS_DONE;
	rc = start_prepare(&start, cluster, server);
	if (rc < 0)
		return call_fail(call, cluster->dir, rc, NULL);
	rc = spawn(&start, &pid);
	if (rc < 0)
		return call_fail(call, start.program, rc, NULL);
	rc = up_pid_write(cluster, server, pid);
	return rc < 0 ? call_fail(call, cluster->dir, rc, NULL) : STATUS_DONE;
}

/* ---- waiting until it works ---- */

/* The last line that a server wrote, which says why it ended. */
static void log_last_line(const struct up_cluster *cluster, unsigned int server, char ret[512])
{
	char path[STATE_PATH_MAX];
	char tail[512];
	ssize_t got = -1;
	char *line;
	int fd = -1;

	ret[0] = '\0';
	if (up_path(cluster, server, "log", path) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && lseek(fd, -(off_t)(sizeof(tail) - 1), SEEK_END) < 0)
		lseek(fd, 0, SEEK_SET);
	if (fd >= 0) {
		got = read(fd, tail, sizeof(tail) - 1);
		close(fd);
	}
	while (got > 0 && tail[got - 1] == '\n')
		got--;
	if (got <= 0)
		return;
	tail[got] = '\0';
	line = strrchr(tail, '\n');
	snprintf(ret, 512, "%s", line ? line + 1 : tail);
}

static int died_report(struct call *call, const struct up_cluster *cluster, unsigned int server)
{
	char path[STATE_PATH_MAX];
	char line[512];

	log_last_line(cluster, server, line);
	if (up_path(cluster, server, "log", path) < 0)
		path[0] = '\0';
	return call_fail(call, path, -ERR_UNAVAILABLE, *line ? line : "the server ended at once");
}

/* Reaps what an interactive shell started; says whether all servers still run. */
static int all_run(struct call *call, const struct up_cluster *cluster, unsigned int servers)
{
	for (unsigned int i = 0; i <= servers; i++) {
		if (up_pid(cluster, i) == 0)
			return died_report(call, cluster, i);
	}
	return STATUS_DONE;
}

static int wait_ready(struct call *call, const struct up_cluster *cluster, unsigned int servers)
{
	uint64_t until = clock_monotonic_ms() + READY_MS;
	struct muster_status status = { 0 };
	int rc;

	while (clock_monotonic_ms() < until) {
		int state = all_run(call, cluster, servers);

		if (state != STATUS_DONE)
			return state;
		if (call_interrupted(call))
			return call_fail(call, NULL, -ERR_CANCELLED,
					 "the servers go on; `down` stops them");
		rc = muster_status(call->session, &status);
		if (rc == 0 && status.nodes_online >= servers)
			return STATUS_DONE;
		muster_wait(call->session, LOOK_MS);
		/* Wakes up at once when nothing is under way. */
		poll(NULL, 0, LOOK_MS);
	}
	return call_fail(call, cluster->dir, -ERR_TIMEOUT, "the servers' logs are there");
}

/* A session of its own, in place of the shell's, which may belong to another cluster. */
static int session_replace(struct call *call, const struct up_cluster *cluster)
{
	const char *lo = "lo";
	struct muster_options options = {
		.nameserver = cluster->nameserver,
		.cluster = cluster->cluster,
		.interfaces = &lo,
		.interface_count = 1,
		.beacon_port = cluster->beacon_port,
		.timeout_ms = READY_MS,
	};
	struct muster *session = NULL;
	int rc;

	shell_done(call->shell);
	rc = muster_new(&options, &session);
	call->session = session;
	call->shell->session = session;
	return rc < 0 ? call_fail(call, NULL, rc, NULL) : STATUS_DONE;
}

static int up_report(struct call *call, const struct up_cluster *cluster, unsigned int servers)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "cluster", cluster->cluster);
		json_text(object, "nameserver", cluster->nameserver);
		json_number(object, "nodes", servers);
		json_text(object, "data", cluster->dir);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	printf("cluster %s is up: name server at %s, %u storage server%s, data in ",
	       cluster->cluster, cluster->nameserver, servers, plural(servers));
	name_print(stdout, cluster->dir);
	puts("\nCommands that follow use it; `muster down` stops it.");
	return STATUS_DONE;
}

static unsigned int servers_there(const struct up_cluster *cluster)
{
	unsigned int count = 0;

	while (count < UP_SERVERS_MAX && up_exists(cluster, count + 1))
		count++;
	return count;
}

/* As many as asked for, but none fewer than run or have data. */
static int servers_wanted(struct call *call, const struct up_cluster *cluster, unsigned int *ret)
{
	unsigned int there = servers_there(cluster);
	uint64_t asked = there ? there : SERVERS_DEFAULT;

	if (call->count && number_parse(call->arguments[0], 1, UP_SERVERS_MAX, &asked) < 0)
		return call_usage(call, "wants a number of storage servers from 1 to %d, not '%s'",
				  UP_SERVERS_MAX, call->arguments[0]);
	*ret = asked > there ? (unsigned int)asked : there;
	return STATUS_DONE;
}

static int cluster_start(struct call *call, struct up_cluster *cluster, unsigned int servers)
{
	int status = STATUS_DONE;
	int rc = cluster_prepare(cluster);

	if (rc < 0)
		return call_fail(call, cluster->dir, rc, NULL);
	for (unsigned int i = 0; i <= servers && status == STATUS_DONE; i++)
		status = server_start(call, cluster, i);
	if (status != STATUS_DONE)
		return status;
	rc = state_set("last-up", "dir", cluster->dir);
	if (rc < 0)
		call_note(call, "commands that follow will not find it by themselves: %s",
			  muster_error_text(rc));
	status = session_replace(call, cluster);
	if (status == STATUS_DONE)
		status = wait_ready(call, cluster, servers);
	shell_forget(call->shell);
	return status;
}

int command_up(struct call *call)
{
	struct up_cluster cluster;
	unsigned int servers = 0;
	int rc = up_directory(call->options[CALL_DATA], cluster.dir);
	int status;

	if (rc < 0)
		return call_fail(call, call->options[CALL_DATA], rc,
				 "no directory: give one with --data");
	status = servers_wanted(call, &cluster, &servers);
	if (status == STATUS_DONE)
		status = cluster_start(call, &cluster, servers);
	return status == STATUS_DONE ? up_report(call, &cluster, servers) : status;
}

/* ---- stopping ---- */

/* A process that is asked to end; `fd` is its own, so that no other can take its number. */
struct stopping {
	pid_t pid;
	int fd;
};

/* Opened before the second look, so that what was looked at is what is signalled. */
static bool stopping_open(struct stopping *stopping, const struct up_cluster *cluster,
			  unsigned int server)
{
	stopping->pid = up_pid(cluster, server);
	if (stopping->pid == 0)
		return false;
	stopping->fd = (int)syscall(SYS_pidfd_open, stopping->pid, 0);
	if (stopping->fd >= 0 && up_pid(cluster, server) != stopping->pid) {
		close(stopping->fd);
		return false;
	}
	return true;
}

static void stopping_signal(const struct stopping *stopping, int number)
{
	if (stopping->fd >= 0)
		syscall(SYS_pidfd_send_signal, stopping->fd, number, NULL, 0);
	else
		kill(stopping->pid, number);
}

static bool stopping_wait(const struct stopping *stopping, int wait_ms)
{
	struct pollfd ended = { .fd = stopping->fd, .events = POLLIN };
	uint64_t until = clock_monotonic_ms() + (uint64_t)wait_ms;

	while (clock_monotonic_ms() < until) {
		if (stopping->fd >= 0 && poll(&ended, 1, wait_ms) > 0)
			return true;
		/* Kernels before 5.3 have no such descriptors. */
		if (stopping->fd < 0 && kill(stopping->pid, 0) < 0)
			return true;
		if (stopping->fd < 0)
			poll(NULL, 0, LOOK_MS);
	}
	return false;
}

static void stopping_finish(const struct stopping *stopping)
{
	if (!stopping_wait(stopping, STOP_MS)) {
		stopping_signal(stopping, SIGKILL);
		stopping_wait(stopping, STOP_MS);
	}
	waitpid(stopping->pid, NULL, WNOHANG);
	if (stopping->fd >= 0)
		close(stopping->fd);
}

static unsigned int cluster_stop(const struct up_cluster *cluster)
{
	struct stopping stopping[UP_SERVERS_MAX + 1];
	unsigned int count = 0;

	for (unsigned int i = 0; i <= UP_SERVERS_MAX; i++) {
		if (stopping_open(&stopping[count], cluster, i))
			stopping_signal(&stopping[count++], SIGTERM);
	}
	for (unsigned int i = 0; i < count; i++)
		stopping_finish(&stopping[i]);
	for (unsigned int i = 0; i <= UP_SERVERS_MAX; i++)
		up_pid_forget(cluster, i);
	return count;
}

static int down_report(struct call *call, const struct up_cluster *cluster, unsigned int count)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_number(object, "stopped", count);
		json_text(object, "data", cluster->dir);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	if (count == 0)
		fputs("nothing was running in ", stdout);
	else
		printf("stopped %u server%s; the data stays in ", count, plural(count));
	name_print(stdout, cluster->dir);
	putchar('\n');
	return STATUS_DONE;
}

int command_down(struct call *call)
{
	struct up_cluster cluster;
	char last[STATE_VALUE_MAX];
	int rc = up_directory(call->options[CALL_DATA], cluster.dir);
	unsigned int count;

	if (rc < 0)
		return call_fail(call, call->options[CALL_DATA], rc,
				 "no directory: give one with --data");
	shell_done(call->shell);
	count = cluster_stop(&cluster);
	if (state_get("last-up", "dir", last) == 0 && strcmp(last, cluster.dir) == 0)
		state_set("last-up", "dir", NULL);
	shell_forget(call->shell);
	return down_report(call, &cluster, count);
}
