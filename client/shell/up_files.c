#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "text.h"
#include "up_files.h"

enum { SMALL_FILE = 4096 };

static int join(char ret[STATE_PATH_MAX], const char *dir, const char *name)
{
	int size = snprintf(ret, STATE_PATH_MAX, "%s/%s", dir, name);

	return size < STATE_PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
}

int up_directory(const char *asked, char ret[STATE_PATH_MAX])
{
	char last[STATE_VALUE_MAX];
	char here[STATE_PATH_MAX];

	if (!asked && state_get("last-up", "dir", last) == 0)
		asked = last;
	if (!asked)
		return state_path(ret, "up");
	if (*asked != '/' && !getcwd(here, sizeof(here)))
		return error_from_errno(errno);
	if (*asked != '/')
		return join(ret, here, asked);
	if (strlen(asked) >= STATE_PATH_MAX)
		return -ERR_NAME_TOO_LONG;
	memcpy(ret, asked, strlen(asked) + 1);
	return 0;
}

bool up_find_running(struct up_cluster *ret)
{
	char last[STATE_VALUE_MAX];

	if (state_get("last-up", "dir", last) < 0 || strlen(last) >= sizeof(ret->dir))
		return false;
	memcpy(ret->dir, last, strlen(last) + 1);
	return up_config_read(ret) == 0 && up_pid(ret, 0) > 0;
}

/* The value of a line `name = value`, or NULL. */
static const char *value_of(const char *line, const char *name)
{
	size_t size = strlen(name);

	if (strncmp(line, name, size) != 0)
		return NULL;
	line += size + strspn(line + size, " ");
	if (*line != '=')
		return NULL;
	return line + 1 + strspn(line + 1, " ");
}

static int port_read(const char *text, uint16_t *ret)
{
	uint64_t port;
	int rc = number_parse(text, 1, UINT16_MAX, &port);

	if (rc == 0)
		*ret = (uint16_t)port;
	return rc;
}

static void line_read(struct up_cluster *cluster, const char *line)
{
	const char *value = value_of(line, "cluster");

	if (value && strlen(value) < sizeof(cluster->cluster))
		memcpy(cluster->cluster, value, strlen(value) + 1);
	value = value_of(line, "nameserver");
	if (value && strlen(value) < sizeof(cluster->nameserver) && strrchr(value, ':')) {
		memcpy(cluster->nameserver, value, strlen(value) + 1);
		port_read(strrchr(value, ':') + 1, &cluster->port);
	}
	value = value_of(line, "beacon-port");
	if (value)
		port_read(value, &cluster->beacon_port);
}

int up_config_read(struct up_cluster *cluster)
{
	char path[STATE_PATH_MAX];
	char text[SMALL_FILE];
	char *rest = text;
	int rc = join(path, cluster->dir, "config");

	cluster->cluster[0] = '\0';
	cluster->nameserver[0] = '\0';
	cluster->port = cluster->beacon_port = 0;
	if (rc == 0)
		rc = file_load(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	while (rest)
		line_read(cluster, strsep(&rest, "\n"));
	return cluster->cluster[0] && cluster->port && cluster->beacon_port ? 0 : -ERR_BAD_FORMAT;
}

int up_config_write(const struct up_cluster *cluster)
{
	char path[STATE_PATH_MAX];
	char text[SMALL_FILE];
	int size = snprintf(text, sizeof(text),
			    "cluster = %s\nnameserver = %s\ninterface = lo\nbeacon-port = %u\n",
			    cluster->cluster, cluster->nameserver, cluster->beacon_port);
	int rc = join(path, cluster->dir, "config");

	return rc < 0 ? rc : file_store(path, text, (size_t)size);
}

int up_path(const struct up_cluster *cluster, unsigned int server, const char *name,
	    char ret[STATE_PATH_MAX])
{
	int size;

	if (server == 0)
		size = snprintf(ret, STATE_PATH_MAX, "%s/nameserver/%s", cluster->dir, name);
	else
		size = snprintf(ret, STATE_PATH_MAX, "%s/storage-%u/%s", cluster->dir, server,
				name);
	return size < STATE_PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
}

bool up_exists(const struct up_cluster *cluster, unsigned int server)
{
	char path[STATE_PATH_MAX];

	return up_path(cluster, server, "", path) == 0 && access(path, F_OK) == 0;
}

/* When a process began, in ticks since the machine started; 0: it is gone, or a zombie. */
static uint64_t process_start(pid_t pid)
{
	char path[64];
	char text[SMALL_FILE];
	char *at;
	char state = 'Z';
	unsigned long long start = 0;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (file_load(path, text, sizeof(text)) < 0)
		return 0;
	/* The program's name stands in parentheses and may hold anything, these too. */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
			  " %*d %*d %*d %*d %*d %*d %llu",
			  &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static uint64_t number_load(const struct up_cluster *cluster, unsigned int server, const char *name)
{
	char path[STATE_PATH_MAX];
	char text[64];
	uint64_t number;

	if (up_path(cluster, server, name, path) < 0 || file_load(path, text, sizeof(text)) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return number_parse(text, 1, INT64_MAX, &number) == 0 ? number : 0;
}

static int number_store(const struct up_cluster *cluster, unsigned int server, const char *name,
			uint64_t number)
{
	char path[STATE_PATH_MAX];
	char text[64];
	int size = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
	int rc = up_path(cluster, server, name, path);

	return rc < 0 ? rc : file_store(path, text, (size_t)size);
}

pid_t up_pid(const struct up_cluster *cluster, unsigned int server)
{
	uint64_t pid = number_load(cluster, server, "pid");
	uint64_t start = number_load(cluster, server, "start");

	if (pid == 0 || pid > INT32_MAX || start == 0 || process_start((pid_t)pid) != start)
		return 0;
	return (pid_t)pid;
}

int up_pid_write(const struct up_cluster *cluster, unsigned int server, pid_t pid)
{
	int rc = number_store(cluster, server, "start", process_start(pid));

	return rc < 0 ? rc : number_store(cluster, server, "pid", (uint64_t)pid);
}

void up_pid_forget(const struct up_cluster *cluster, unsigned int server)
{
	char path[STATE_PATH_MAX];

	if (up_path(cluster, server, "pid", path) == 0)
		unlink(path);
	if (up_path(cluster, server, "start", path) == 0)
		unlink(path);
}
