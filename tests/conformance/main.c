/* muster-conformance: runs conformance scripts against a name server's core in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "message.h"
#include "peer_memory.h"

static char *file_read(const char *path)
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

static int run(const char *path, struct script_coverage *coverage, struct script_result *result)
{
	char *text = file_read(path);
	struct peer_memory *memory = NULL;
	struct script_peer peer;
	struct script_how how = { .peer = &peer, .coverage = coverage, .seed = 1 };
	int rc = text ? peer_memory_new(&memory) : error_from_errno(2);

	if (rc == 0) {
		peer = peer_memory_script(memory);
		rc = script_run(text, &how, result);
	}
	peer_memory_free(memory);
	free(text);
	return rc;
}

/* Whatever a name server serves has to be asked for by some script, answered well. */
static unsigned int missing(const struct script_coverage *coverage)
{
	const struct message_info *info;
	unsigned int count = 0;

	for (unsigned int i = 0; (info = message_at(i)); i++) {
		bool one_way = info->flags & MESSAGE_ONE_WAY;

		if (!(info->to & TO_NAMESERVER) || info->code == MSG_data)
			continue;
		if (coverage->requests[info->code] && (one_way || coverage->replies[info->code]))
			continue;
		printf("not ok - no script exercises %s\n", info->name);
		count++;
	}
	return count;
}

int main(int argc, char **argv)
{
	struct script_coverage coverage = { 0 };
	unsigned int failed = 0;

	if (argc < 3 || strcmp(argv[1], "memory") != 0) {
		fprintf(stderr, "usage: muster-conformance memory SCRIPT ...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		struct script_result result = { 0 };
		int rc = run(argv[i], &coverage, &result);

		if (rc < 0)
			printf("not ok - %s:%d: %s\n", argv[i], result.line,
			       result.text[0] ? result.text : error_text(rc));
		else
			printf("ok - %s%s%s\n", argv[i], result.skipped ? " # skip " : "",
			       result.skipped ? result.text : "");
		failed += rc < 0;
	}
	failed += missing(&coverage);
	return failed ? 1 : 0;
}
