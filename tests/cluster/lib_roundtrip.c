/* Puts and gets files of many sizes through libmuster, in every way that there is.
 *
 *     lib_roundtrip NAMESERVER sizes                 all the sizes at which something changes
 *     lib_roundtrip NAMESERVER put PATH SIZE [MARK]  one file of a known content
 *     lib_roundtrip NAMESERVER get PATH SIZE [MARK]  the same back, compared
 *     lib_roundtrip NAMESERVER stream SIZE           through callbacks, with little memory
 *
 * After MARK bytes it says that it is midway, and goes on when a line is read. Prints one JSON
 * object per line; exits 1 at the first difference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "muster.h"

/* Any byte of the content can be computed by itself. */
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

struct stream {
	uint64_t seed;
	uint64_t size;
	uint64_t at;
	uint64_t mark; /* 0: none */
	bool differs;
};

static void pass_mark(struct stream *stream)
{
	char line[8];

	if (stream->mark == 0 || stream->at < stream->mark)
		return;
	stream->mark = 0;
	printf("{\"what\":\"midway\"}\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(2);
}

static int64_t stream_read(void *context, void *buffer, size_t size)
{
	struct stream *stream = context;
	uint64_t left = stream->size - stream->at;
	size_t part = left < size ? (size_t)left : size;

	if (part > 100000)
		part = 100000;
	content(stream->seed, stream->at, buffer, part);
	stream->at += part;
	pass_mark(stream);
	return (int64_t)part;
}

static int stream_write(void *context, const void *data, size_t size)
{
	struct stream *stream = context;
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != byte_at(stream->seed, stream->at + i))
			stream->differs = true;
	}
	stream->at += size;
	pass_mark(stream);
	return stream->differs ? -MUSTER_E_CANCELLED : 0;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int report(struct muster *session, const char *what, uint64_t size, int rc)
{
	printf("{\"what\":\"%s\",\"size\":%llu,\"error\":\"%s\",\"detail\":\"%s\"}\n", what,
	       (unsigned long long)size, muster_error_name(rc),
	       rc < 0 ? muster_detail(session) : "");
	fflush(stdout);
	return rc;
}

static int put_memory(struct muster *session, const char *path, uint64_t size)
{
	uint8_t *data = malloc(size + 1);
	struct muster_put_args args = {
		.path = path,
		.source = { .fd = -1, .data = data, .size = size },
		.flags = MUSTER_REPLACE,
	};
	struct muster_put_result result = { 0 };
	int rc;

	if (!data)
		return -MUSTER_E_NO_MEMORY;
	content(size, 0, data, size);
	rc = muster_put(session, &args, &result);
	if (rc == 0 && (result.size != size || result.copies == 0))
		rc = -MUSTER_E_BAD_FORMAT;
	free(data);
	return rc;
}

static int put_stream(struct muster *session, const char *path, uint64_t size, uint64_t mark)
{
	struct stream stream = { .seed = size, .size = size, .mark = mark };
	struct muster_put_args args = {
		.path = path,
		.source = { .fd = -1, .read = stream_read, .context = &stream, .size = size },
		.flags = MUSTER_REPLACE,
	};

	return muster_put(session, &args, NULL);
}

static int get_compare(struct muster *session, const char *path, uint64_t size, uint64_t mark)
{
	struct stream stream = { .seed = size, .mark = mark };
	struct muster_get_args args = {
		.path = path,
		.sink = { .fd = -1, .write = stream_write, .context = &stream },
	};
	struct muster_get_result result = { 0 };
	int rc = muster_get(session, &args, &result);

	if (rc == 0 && (stream.differs || stream.at != size || result.bytes != size))
		rc = -MUSTER_E_CORRUPT;
	return rc;
}

static int get_range(struct muster *session, const char *path, uint64_t size, uint64_t offset)
{
	uint8_t data[5000];
	struct muster_get_args args = {
		.path = path,
		.sink = { .fd = -1, .data = data, .size = sizeof(data) },
		.offset = offset,
		.length = sizeof(data),
	};
	struct muster_get_result result = { 0 };
	uint64_t want = size - offset < sizeof(data) ? size - offset : sizeof(data);
	int rc = muster_get(session, &args, &result);

	if (rc == 0 && result.bytes != want)
		return -MUSTER_E_CORRUPT;
	for (size_t i = 0; rc == 0 && i < want; i++) {
		if (data[i] != byte_at(size, offset + i))
			rc = -MUSTER_E_CORRUPT;
	}
	return rc;
}

static int through_files(struct muster *session, const char *path, uint64_t size)
{
	FILE *from = tmpfile();
	FILE *to = tmpfile();
	struct muster_put_args put = { .path = path, .flags = MUSTER_REPLACE };
	struct muster_get_args get = { .path = path };
	struct stream stream = { .seed = size, .size = size };
	uint8_t part[65536];
	int64_t got;
	int rc;

	if (!from || !to)
		return -MUSTER_E_IO;
	while ((got = stream_read(&stream, part, sizeof(part))) > 0)
		fwrite(part, 1, (size_t)got, from);
	fflush(from);
	put.source = (struct muster_source){ .fd = fileno(from), .size = MUSTER_UNKNOWN };
	rc = muster_put(session, &put, NULL);
	get.sink = (struct muster_sink){ .fd = fileno(to) };
	if (rc == 0)
		rc = muster_get(session, &get, NULL);
	stream = (struct stream){ .seed = size };
	rewind(to);
	while (rc == 0 && (got = (int64_t)fread(part, 1, sizeof(part), to)) > 0)
		rc = stream_write(&stream, part, (size_t)got);
	if (rc == 0 && stream.at != size)
		rc = -MUSTER_E_CORRUPT;
	fclose(from);
	fclose(to);
	return rc;
}

static int one_size(struct muster *session, uint64_t size)
{
	const uint64_t offsets[] = { 0, 1, 65535, 65536, 1048575, 16777215, 16777216 };
	int rc = put_memory(session, "/roundtrip", size);

	if (report(session, "put", size, rc) < 0)
		return rc;
	rc = report(session, "get", size, get_compare(session, "/roundtrip", size, 0));
	for (size_t i = 0; rc == 0 && i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		if (offsets[i] <= size)
			rc = get_range(session, "/roundtrip", size, offsets[i]);
	}
	if (rc == 0 && get_range(session, "/roundtrip", size, size + 1) != -MUSTER_E_RANGE)
		rc = -MUSTER_E_BAD_FORMAT;
	if (report(session, "ranges", size, rc) < 0)
		return rc;
	return report(session, "files", size, through_files(session, "/roundtrip", size));
}

static int sizes(struct muster *session)
{
	const uint64_t all[] = { 0,        1,        2047,     2048,     2049,    65535,
				 65536,    65537,    1048575,  1048576,  1048577, 16777215,
				 16777216, 16777217, 67108863, 67108864, 67108865 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(all) / sizeof(all[0]); i++)
		rc = one_size(session, all[i]);
	return rc;
}

static int stream(struct muster *session, uint64_t size)
{
	struct stream source = { .seed = size, .size = size };
	struct muster_put_args args = {
		.path = "/stream",
		.source = { .fd = -1,
			    .read = stream_read,
			    .context = &source,
			    .size = MUSTER_UNKNOWN },
		.flags = MUSTER_REPLACE,
	};
	struct rusage usage;
	int rc = report(session, "stream put", size, muster_put(session, &args, NULL));

	if (rc == 0)
		rc = report(session, "stream get", size, get_compare(session, "/stream", size, 0));
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"what\":\"memory\",\"kib\":%ld}\n", usage.ru_maxrss);
	if (rc == 0 && usage.ru_maxrss > 70L * 1024)
		rc = -MUSTER_E_TOO_LARGE;
	return rc;
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 0;
}

/* put or get PATH SIZE [MARK] */
static int one_file(struct muster *session, char **words)
{
	uint64_t size = number(words[2]), mark = number(words[3]);

	if (strcmp(words[0], "put") == 0)
		return report(session, "put", size, put_stream(session, words[1], size, mark));
	return report(session, "get", size, get_compare(session, words[1], size, mark));
}

int main(int argc, char **argv)
{
	struct muster_options options = { 0 };
	struct muster *session = NULL;
	double start = seconds();
	const char *transfer = getenv("TRANSFER");
	int rc;

	if (argc < 3)
		return 2;
	options.nameserver = argv[1];
	if (transfer && strcmp(transfer, "active") == 0)
		options.transfer = MUSTER_TRANSFER_ACTIVE;
	else if (transfer && strcmp(transfer, "passive") == 0)
		options.transfer = MUSTER_TRANSFER_PASSIVE;
	rc = muster_open(&options, &session);
	if (rc < 0)
		report(session, "open", 0, rc);
	else if (strcmp(argv[2], "sizes") == 0)
		rc = sizes(session);
	else if (strcmp(argv[2], "stream") == 0 && argc == 4)
		rc = stream(session, number(argv[3]));
	else if ((strcmp(argv[2], "put") == 0 || strcmp(argv[2], "get") == 0) && argc >= 5)
		rc = one_file(session, &argv[2]);
	else
		rc = 2;
	muster_close(session);
	printf("{\"what\":\"time\",\"ms\":%.0f}\n", (seconds() - start) * 1e3);
	return rc ? 1 : 0;
}
