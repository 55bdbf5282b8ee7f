/* Appends, and reads in files held open, through libmuster.
 *
 *     lib_append NAMESERVER sizes                  tails and pieces of all sizes that matter
 *     lib_append NAMESERVER pieces PATH TAG COUNT  appends COUNT pieces "TAG number\n" of 32 bytes
 *     lib_append NAMESERVER stream PATH SIZE       appends from a function that cannot go back
 *     lib_append NAMESERVER count PATH SIZE        how many such streams a file consists of
 *     lib_append NAMESERVER file PATH              reads while the name is replaced, grows, goes
 *     lib_append NAMESERVER frozen PATH            reads between two lines of standard input
 *     lib_append NAMESERVER watch PATH             gets while others append, until input ends
 *
 * Prints one JSON object per line; exits 1 at the first difference. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "muster.h"

enum { MIB = 1024 * 1024, PIECE = 32, READS = 200 };

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
	uint64_t z = (offset / 8 + 1) * 0x9e3779b97f4a7c15u + seed;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint8_t)((z ^ z >> 31) >> offset % 8 * 8);
}

static void content(uint64_t seed, uint64_t offset, uint8_t *ret, size_t size)
{
	for (size_t i = 0; i < size; i++)
		ret[i] = byte_at(seed, offset + i);
}

static uint64_t any(void)
{
	static uint64_t number;
	uint64_t value = 0;

	for (int i = 0; i < 4; i++)
		value = value << 8 | byte_at(42, number++);
	return value;
}

static int report(struct muster *session, const char *what, uint64_t size, int rc)
{
	printf("{\"what\":\"%s\",\"size\":%llu,\"error\":\"%s\",\"detail\":\"%s\"}\n", what,
	       (unsigned long long)size, muster_error_name(rc),
	       rc < 0 ? muster_detail(session) : "");
	fflush(stdout);
	return rc;
}

/* ---- sources ---- */

struct stream {
	uint64_t seed, at, end;
};

static int64_t stream_read(void *context, void *buffer, size_t size)
{
	struct stream *stream = context;
	uint64_t left = stream->end - stream->at;
	size_t part = left < size ? (size_t)left : size;

	part = part < 300000 ? part : 300000;
	content(stream->seed, stream->at, buffer, part);
	stream->at += part;
	return (int64_t)part;
}

enum way { MEMORY, STREAM, OPEN_FILE, WAYS };

static int put_new(struct muster *session, const char *path, uint64_t seed, uint64_t size)
{
	struct stream stream = { seed, 0, size };
	struct muster_put_args args = {
		.path = path,
		.source = { .fd = -1, .read = stream_read, .context = &stream, .size = size },
		.flags = MUSTER_REPLACE,
	};

	return muster_put(session, &args, NULL);
}

static int append_part(struct muster *session, const char *path, struct stream part, enum way way)
{
	size_t size = (size_t)(part.end - part.at);
	uint8_t *data = malloc(size + 1);
	struct muster_put_args args = { .path = path };
	struct muster_put_result result = { 0 };
	uint64_t end = part.end;
	FILE *file = NULL;
	int rc;

	if (!data)
		return -MUSTER_E_NO_MEMORY;
	content(part.seed, part.at, data, size);
	args.source = (struct muster_source){ .fd = -1, .data = data, .size = size };
	if (way == STREAM)
		args.source = (struct muster_source){
			.fd = -1, .read = stream_read, .context = &part, .size = MUSTER_UNKNOWN
		};
	if (way == OPEN_FILE) {
		file = tmpfile();
		if (!file || fwrite(data, 1, size, file) != size || fflush(file) != 0)
			return -MUSTER_E_IO;
		args.source = (struct muster_source){ .fd = fileno(file), .size = MUSTER_UNKNOWN };
	}
	rc = muster_append(session, &args, &result);
	if (rc == 0 && result.size != end)
		rc = -MUSTER_E_BAD_FORMAT;
	if (file)
		fclose(file);
	free(data);
	return rc;
}

/* ---- looking ---- */

static int compare(void *context, const void *data, size_t size)
{
	struct stream *stream = context;
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != byte_at(stream->seed, stream->at + i))
			return -MUSTER_E_CORRUPT;
	}
	stream->at += size;
	return 0;
}

static int get_compare(struct muster *session, const char *path, uint64_t seed, uint64_t size)
{
	struct stream stream = { .seed = seed };
	struct muster_get_args args = {
		.path = path,
		.sink = { .fd = -1, .write = compare, .context = &stream },
	};
	int rc = muster_get(session, &args, NULL);

	return rc == 0 && stream.at != size ? -MUSTER_E_END : rc;
}

static int one_append(struct muster *session, uint64_t first, uint64_t more, enum way way)
{
	struct muster_entry before, after;
	uint64_t chunks;
	int rc = put_new(session, "/append", first, first);

	if (rc == 0)
		rc = muster_stat(session, "/append", &before);
	if (rc == 0)
		rc = append_part(session, "/append", (struct stream){ first, first, first + more },
				 way);
	if (rc == 0)
		rc = muster_stat(session, "/append", &after);
	if (rc == 0)
		rc = get_compare(session, "/append", first, first + more);
	if (rc < 0)
		return rc;
	/* A small tail is sent again in front of the new bytes. */
	chunks = first % (16 * MIB) < MIB ? (first + more + 16 * MIB - 1) / (16 * MIB)
					  : before.chunks + (more + 16 * MIB - 1) / (16 * MIB);
	if (after.inode != before.inode || after.version < before.version ||
	    (more && after.version != before.version + 1) || after.chunks != chunks)
		rc = -MUSTER_E_BAD_FORMAT;
	/* A stream is known to be empty only when the tail has been sent. */
	if (more > 0 && after.has_digest != (after.chunks < 2 || first < MIB))
		rc = -MUSTER_E_BAD_FORMAT;
	return rc;
}

static int sizes(struct muster *session)
{
	const uint64_t firsts[] = { 0,        1,           MIB - 1, MIB, MIB + 1, 16 * MIB - 1,
				    16 * MIB, 16 * MIB + 5 };
	const uint64_t mores[] = { 0, 1, 70000, MIB - 1, MIB, 17 * MIB };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		for (size_t j = 0; rc == 0 && j < sizeof(mores) / sizeof(mores[0]); j++) {
			enum way way = (enum way)((i + j) % WAYS);

			rc = one_append(session, firsts[i], mores[j], way);
			if (rc < 0)
				printf("{\"first\":%llu,\"way\":%d}\n",
				       (unsigned long long)firsts[i], (int)way);
			report(session, "append", mores[j], rc);
		}
	}
	if (rc == 0 && append_part(session, "/none", (struct stream){ 1, 0, 5 }, MEMORY) !=
			       -MUSTER_E_NOT_FOUND)
		rc = report(session, "append to nothing", 0, -MUSTER_E_BAD_FORMAT);
	return rc;
}

static int pieces(struct muster *session, const char *path, const char *tag, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		char text[PIECE + 1];
		struct muster_put_args args = {
			.path = path,
			.source = { .fd = -1, .data = text, .size = PIECE },
		};
		int rc;

		snprintf(text, sizeof(text), "%-20.20s %010u\n", tag, i);
		rc = muster_append(session, &args, NULL);
		printf("{\"piece\":%u,\"error\":\"%s\"}\n", i, muster_error_name(rc));
		fflush(stdout);
	}
	return 0;
}

static int append_stream(struct muster *session, const char *path, uint64_t size)
{
	struct stream stream = { 7, 0, size };
	struct muster_put_args args = {
		.path = path,
		.source = { .fd = -1,
			    .read = stream_read,
			    .context = &stream,
			    .size = MUSTER_UNKNOWN },
	};

	return muster_append(session, &args, NULL);
}

/* ---- files held open ---- */

static int read_at(struct muster_file *file, uint64_t seed, uint64_t offset, size_t size)
{
	static uint8_t data[300000];
	uint64_t end = muster_file_entry(file)->size;
	int64_t want = offset >= end ? 0 : (int64_t)(size < end - offset ? size : end - offset);
	int64_t got = muster_file_read(file, data, size, offset);

	if (got < 0)
		return (int)got;
	if (got != want)
		return -MUSTER_E_END;
	return compare(&(struct stream){ seed, offset, 0 }, data, (size_t)got);
}

static int reads(struct muster_file *file, uint64_t seed)
{
	const size_t lengths[] = { 4096, 1, 0, 65536, 200000 };
	uint64_t end = muster_file_entry(file)->size;
	int rc = read_at(file, seed, end, 10);

	for (unsigned int i = 0; rc == 0 && i < READS; i++)
		rc = read_at(file, seed, any() % (end + 10), lengths[i % 5]);
	return rc;
}

struct burst {
	unsigned int running;
	int rc;
};

struct one_read {
	struct burst *burst;
	uint64_t offset;
	uint8_t data[4096];
};

static void read_done(void *context, struct muster_op *op, int result)
{
	struct one_read *read = context;
	size_t size = muster_op_read(op);

	read->burst->running--;
	if (result == 0 && size != sizeof(read->data))
		result = -MUSTER_E_END;
	if (result == 0)
		result = compare(&(struct stream){ 1, read->offset, 0 }, read->data, size);
	if (result < 0)
		read->burst->rc = result;
}

static int burst(struct muster *session, struct muster_file *file)
{
	static struct one_read all[READS];
	struct burst burst = { 0 };

	for (unsigned int i = 0; i < READS; i++) {
		struct muster_then then = { read_done, &all[i] };
		int rc;

		all[i].burst = &burst;
		all[i].offset = any() % (muster_file_entry(file)->size - sizeof(all[i].data));
		rc = muster_start_read(file, all[i].data, sizeof(all[i].data), all[i].offset, then,
				       NULL);
		if (rc < 0)
			return rc;
		burst.running++;
	}
	while (burst.running)
		muster_wait(session, -1);
	return burst.rc;
}

static int file_outlives(struct muster *session, const char *path)
{
	struct muster_file *file = NULL, *other = NULL;
	int rc = put_new(session, path, 1, 20 * MIB);

	if (rc == 0)
		rc = muster_file_open(session, path, &file);
	if (rc == 0)
		rc = report(session, "reads", 0, reads(file, 1));
	if (rc == 0)
		rc = report(session, "at once", 0, burst(session, file));
	if (rc == 0)
		rc = put_new(session, path, 2, 3 * MIB - 7);
	if (rc == 0)
		rc = report(session, "replaced", 0, reads(file, 1));
	if (rc == 0)
		rc = muster_file_open(session, path, &other);
	/* Its tail is replaced by what it begins with. */
	for (uint64_t at = 3 * MIB - 7; rc == 0 && at < 5 * MIB; at += 300000)
		rc = append_part(session, path, (struct stream){ 2, at, at + 300000 }, MEMORY);
	if (rc == 0)
		rc = report(session, "appended", 0, reads(other, 2));
	if (rc == 0)
		rc = muster_remove(session, path, 0, NULL);
	usleep(300000);
	if (rc == 0)
		rc = report(session, "removed", 0, reads(file, 1));
	if (rc == 0)
		rc = report(session, "removed", 0, reads(other, 2));
	muster_file_close(file);
	muster_file_close(other);
	if (rc == 0 && muster_file_open(session, path, &file) != -MUSTER_E_NOT_FOUND)
		rc = -MUSTER_E_BAD_FORMAT;
	return rc;
}

static int file_frozen(struct muster *session, const char *path)
{
	struct muster_file *file = NULL;
	char line[16];
	int rc = put_new(session, path, 1, 40 * MIB);

	if (rc == 0)
		rc = muster_file_open(session, path, &file);
	if (rc == 0)
		rc = report(session, "reads", 0, reads(file, 1));
	printf("{\"what\":\"ready\"}\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	if (rc == 0)
		rc = report(session, "frozen", 0, reads(file, 1));
	printf("{\"what\":\"done\"}\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	if (rc == 0)
		rc = report(session, "again", 0, reads(file, 1));
	muster_file_close(file);
	return rc;
}

/* Streams that were appended one behind the other, each whole. */
struct streams {
	uint64_t size, at, count;
};

static int streams_compare(void *context, const void *data, size_t size)
{
	struct streams *streams = context;
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != byte_at(7, streams->at))
			return -MUSTER_E_CORRUPT;
		streams->at = (streams->at + 1) % streams->size;
		streams->count += streams->at == 0;
	}
	return 0;
}

static int count_streams(struct muster *session, const char *path, uint64_t size)
{
	struct streams streams = { .size = size };
	struct muster_get_args args = {
		.path = path,
		.sink = { .fd = -1, .write = streams_compare, .context = &streams },
	};
	int rc = muster_get(session, &args, NULL);

	return report(session, "streams", streams.count, streams.at ? -MUSTER_E_END : rc);
}

/* What is read is a whole number of pieces, each as it was. */
static int watch(struct muster *session, const char *path)
{
	struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
	uint64_t last = 0;
	unsigned int count = 0;
	int rc = 0;

	while (rc == 0 && poll(&input, 1, 0) == 0) {
		static char data[MIB];
		struct muster_get_args args = {
			.path = path,
			.sink = { .fd = -1, .data = data, .size = sizeof(data) },
		};
		struct muster_get_result result;

		rc = muster_get(session, &args, &result);
		if (rc == 0 && (result.bytes % PIECE || result.bytes != result.entry.size ||
				result.bytes < last))
			rc = -MUSTER_E_CORRUPT;
		for (uint64_t at = 0; rc == 0 && at < result.bytes; at += PIECE) {
			if (data[at + PIECE - 1] != '\n' || data[at + 20] != ' ')
				rc = -MUSTER_E_CORRUPT;
		}
		last = result.bytes;
		count++;
	}
	return report(session, "watch", count, rc);
}

static int run(struct muster *session, int argc, char **argv)
{
	const char *what = argv[2];

	if (strcmp(what, "sizes") == 0)
		return sizes(session);
	if (strcmp(what, "pieces") == 0 && argc == 6)
		return pieces(session, argv[3], argv[4], (unsigned int)strtoul(argv[5], NULL, 10));
	if (strcmp(what, "stream") == 0 && argc == 5) {
		uint64_t size = strtoull(argv[4], NULL, 10);

		return report(session, "stream", size, append_stream(session, argv[3], size));
	}
	if (strcmp(what, "count") == 0 && argc == 5)
		return count_streams(session, argv[3], strtoull(argv[4], NULL, 10));
	if (strcmp(what, "file") == 0 && argc == 4)
		return report(session, "file", 0, file_outlives(session, argv[3]));
	if (strcmp(what, "frozen") == 0 && argc == 4)
		return report(session, "frozen", 0, file_frozen(session, argv[3]));
	if (strcmp(what, "watch") == 0 && argc == 4)
		return watch(session, argv[3]);
	return 2;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .timeout_ms = 8000 };
	struct muster *session = NULL;
	int rc;

	if (argc < 3)
		return 2;
	options.nameserver = argv[1];
	rc = muster_open(&options, &session);
	rc = rc < 0 ? report(session, "open", 0, rc) : run(session, argc, argv);
	muster_close(session);
	return rc ? 1 : 0;
}
