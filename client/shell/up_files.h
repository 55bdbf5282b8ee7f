/* The files of a cluster that `muster up` keeps in a directory DIR of its own:
 *
 *     DIR/config                  cluster, nameserver, interface, beacon-port, as settings
 *     DIR/nameserver/{data/,pid,start,log}
 *     DIR/storage-N/{data/,pid,start,log}
 *
 * `pid` holds the number alone; `start`, when that process began by the kernel's clock, so that a
 * stranger who got the same number is never taken for ours. */
#ifndef MUSTER_SHELL_UP_FILES_H
#define MUSTER_SHELL_UP_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "state.h"

enum { UP_SERVERS_MAX = 32 };

struct up_cluster {
	char dir[STATE_PATH_MAX];
	char cluster[32];
	char nameserver[32]; /* "127.0.0.1:PORT" */
	uint16_t port;
	uint16_t beacon_port;
};

/* DIR as an absolute path: what was asked for, else the one last started, else the usual one. */
int up_directory(const char *asked, char ret[STATE_PATH_MAX]);
/* The cluster that was last started, if its name server is running. */
bool up_find_running(struct up_cluster *ret);

int up_config_read(struct up_cluster *cluster); /* of cluster->dir; -ERR_NOT_FOUND: a new one */
int up_config_write(const struct up_cluster *cluster);

/* Server 0 is the name server, 1 to UP_SERVERS_MAX are storage servers. */
int up_path(const struct up_cluster *cluster, unsigned int server, const char *name,
	    char ret[STATE_PATH_MAX]);
bool up_exists(const struct up_cluster *cluster, unsigned int server);
/* The process if it runs and is ours, else 0. */
pid_t up_pid(const struct up_cluster *cluster, unsigned int server);
int up_pid_write(const struct up_cluster *cluster, unsigned int server, pid_t pid);
void up_pid_forget(const struct up_cluster *cluster, unsigned int server);

#endif
