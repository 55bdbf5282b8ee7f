#include "scripts.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"

char *script_read(const char *path)
{
	struct buffer text = { 0 };
	uint8_t block[4096];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		return NULL;
	while ((size = fread(block, 1, sizeof(block), file)) > 0)
		buffer_append(&text, block, size);
	fclose(file);
	buffer_append(&text, "", 1);
	return (char *)text.data;
}

static char **scripts_in(const char *folder)
{
	char pattern[PATH_MAX + 8];
	char **scripts = NULL;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*.mst", folder);
	if (glob(pattern, 0, NULL, &found) != 0)
		return NULL;
	scripts = calloc(found.gl_pathc + 1, sizeof(*scripts));
	for (size_t i = 0; scripts && i < found.gl_pathc; i++)
		scripts[i] = strdup(found.gl_pathv[i]);
	globfree(&found);
	return scripts;
}

/* Looks in `folder` below `start` and below all that `start` lies in. */
static char **scripts_above(const char *start, const char *folder)
{
	char base[PATH_MAX], path[2 * PATH_MAX];
	char **scripts = NULL;
	char *slash;

	snprintf(base, sizeof(base), "%s/", start);
	while (!scripts && (slash = strrchr(base, '/'))) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/%s", base, folder);
		scripts = scripts_in(path);
	}
	return scripts;
}

char **scripts_find(const char *folder)
{
	char program[PATH_MAX], current[PATH_MAX], path[2 * PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char **scripts = NULL;
	char *slash;

	if (folder)
		return scripts_in(folder);
	program[size > 0 ? size : 0] = '\0';
	slash = strrchr(program, '/');
	if (slash) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/../share/muster/conformance", program);
		scripts = scripts_in(path);
		if (!scripts)
			scripts = scripts_above(program, "tests/conformance");
	}
	if (!scripts && getcwd(current, sizeof(current)))
		scripts = scripts_above(current, "tests/conformance");
	return scripts;
}

void scripts_free(char **scripts)
{
	for (char **at = scripts; at && *at; at++)
		free(*at);
	free(scripts);
}
