/* What `muster` keeps between its runs: small files in $XDG_STATE_HOME/muster, by default
 * ~/.local/state/muster. The last name server and the current directory are kept per cluster. */
#ifndef MUSTER_SHELL_STATE_H
#define MUSTER_SHELL_STATE_H

#include <stddef.h>

enum { STATE_PATH_MAX = 4096, STATE_VALUE_MAX = 4097 };

/* The path of a file of ours; -ERR_NOT_FOUND without a home directory, -ERR_NAME_TOO_LONG. */
int config_path(char ret[STATE_PATH_MAX], const char *name);
int state_path(char ret[STATE_PATH_MAX], const char *name);

/* The value kept under `key` in the file `name`; -ERR_NOT_FOUND. Any bytes but NUL may be kept. */
int state_get(const char *name, const char *key, char ret[STATE_VALUE_MAX]);
/* NULL forgets it. The file changes in one step and keeps the newest STATE_KEYS_MAX keys. */
int state_set(const char *name, const char *key, const char *value);

enum { STATE_KEYS_MAX = 32 };

/* Makes a directory with its parents, for this user alone. */
int directory_make(const char *path);
/* Reads a whole small file, at most `size` - 1 bytes, and terminates it. */
int file_load(const char *path, char *ret, size_t size);
/* Replaces a file in one step. */
int file_store(const char *path, const void *data, size_t size);

#endif
