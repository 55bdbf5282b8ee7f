#include <stdlib.h>

#include "error.h"
#include "hash.h"
#include "record.h"
#include "superblock.h"

enum {
	VERSION = 1,
	COPIES = 2,
	AT_VERSION = 8,
	AT_SEQUENCE = 16,
	AT_GENERATION = 24,
	AT_CLUSTER = 32,
	AT_NODE = 48,
	AT_DISK = 64,
	AT_PROMISED_EPOCH = 80,
	AT_PROMISED_SERVER = 88,
	AT_NAME_LENGTH = 104,
	AT_NAME = 105,
	AT_CRC = STORE_BLOCK - 4,
};

static const char magic[8] = "MusterSB";

static void encode(const struct store_identity *identity, uint64_t sequence, uint8_t *ret)
{
	size_t length = strnlen(identity->cluster_name, CLUSTER_NAME_MAX);

	memset(ret, 0, STORE_BLOCK);
	memcpy(ret, magic, sizeof(magic));
	put_u32(ret + AT_VERSION, VERSION);
	put_u64(ret + AT_SEQUENCE, sequence);
	put_u64(ret + AT_GENERATION, identity->generation);
	memcpy(ret + AT_CLUSTER, identity->cluster.bytes, ID_SIZE);
	memcpy(ret + AT_NODE, identity->node.bytes, ID_SIZE);
	memcpy(ret + AT_DISK, identity->disk.bytes, ID_SIZE);
	put_u64(ret + AT_PROMISED_EPOCH, identity->promised_epoch);
	memcpy(ret + AT_PROMISED_SERVER, identity->promised_server.bytes, ID_SIZE);
	ret[AT_NAME_LENGTH] = (uint8_t)length;
	memcpy(ret + AT_NAME, identity->cluster_name, length);
	put_u32(ret + AT_CRC, crc32c(ret, AT_CRC));
}

static int decode(const uint8_t *from, struct store_identity *ret, uint64_t *ret_sequence)
{
	if (memcmp(from, magic, sizeof(magic)) != 0 ||
	    get_u32(from + AT_CRC) != crc32c(from, AT_CRC))
		return -ERR_BAD_FORMAT;
	if (get_u32(from + AT_VERSION) != VERSION)
		return -ERR_WRONG_VERSION;
	if (from[AT_NAME_LENGTH] > CLUSTER_NAME_MAX)
		return -ERR_BAD_FORMAT;
	*ret = (struct store_identity){ 0 };
	*ret_sequence = get_u64(from + AT_SEQUENCE);
	ret->generation = get_u64(from + AT_GENERATION);
	memcpy(ret->cluster.bytes, from + AT_CLUSTER, ID_SIZE);
	memcpy(ret->node.bytes, from + AT_NODE, ID_SIZE);
	memcpy(ret->disk.bytes, from + AT_DISK, ID_SIZE);
	ret->promised_epoch = get_u64(from + AT_PROMISED_EPOCH);
	memcpy(ret->promised_server.bytes, from + AT_PROMISED_SERVER, ID_SIZE);
	memcpy(ret->cluster_name, from + AT_NAME, from[AT_NAME_LENGTH]);
	return 0;
}

/* The later of the whole copies. *ret_sequence goes one further if both are whole, so that the next
 * write hits the slot of the later one: if this process's forerunner was killed, that copy may not
 * be durable yet, while the other is. Where one is torn, the next write hits that one. */
static int choose(const uint8_t *blocks, struct store_identity *ret, uint64_t *ret_sequence)
{
	uint64_t latest = 0;
	int whole = 0;

	for (int i = 0; i < COPIES; i++) {
		struct store_identity identity;
		uint64_t sequence;
		int rc = decode(blocks + i * STORE_BLOCK, &identity, &sequence);

		/* A copy of a later version outweighs an older one that we could read. */
		if (rc == -ERR_WRONG_VERSION)
			return rc;
		if (rc < 0)
			continue;
		whole++;
		if (sequence < latest)
			continue;
		*ret = identity;
		latest = sequence;
	}
	*ret_sequence = whole == COPIES ? latest + 1 : latest;
	return whole ? 0 : -ERR_BAD_FORMAT;
}

int superblock_read(struct disk *disk, struct store_identity *ret, uint64_t *ret_sequence)
{
	uint8_t *blocks;
	int64_t got;
	int file = disk_open(disk, "superblock", DISK_READ_ONLY);
	int rc;

	if (file < 0)
		return file;
	blocks = calloc(COPIES, STORE_BLOCK);
	if (!blocks) {
		disk_close(disk, file);
		return -ERR_NO_MEMORY;
	}
	got = disk_read(disk, file, blocks, COPIES * STORE_BLOCK, 0);
	rc = got < 0 ? (int)got : choose(blocks, ret, ret_sequence);
	free(blocks);
	disk_close(disk, file);
	return rc;
}

static int copy_write(struct disk *disk, int file, const struct store_identity *identity,
		      uint64_t sequence)
{
	uint8_t block[STORE_BLOCK];
	int rc;

	encode(identity, sequence, block);
	rc = disk_write(disk, file, block, sizeof(block), sequence % COPIES * STORE_BLOCK);
	return rc < 0 ? rc : disk_sync_file(disk, file);
}

static int copies_write(struct disk *disk, int file, const struct store_identity *identity,
			uint64_t *sequence)
{
	int rc = 0;

	for (int i = 0; i < COPIES && rc == 0; i++)
		rc = copy_write(disk, file, identity, ++*sequence);
	return rc;
}

int superblock_write(struct disk *disk, const struct store_identity *identity, uint64_t *sequence)
{
	int file = disk_open(disk, "superblock", 0);
	int rc;

	if (file < 0)
		return file;
	rc = copies_write(disk, file, identity, sequence);
	disk_close(disk, file);
	return rc;
}

int superblock_create(struct disk *disk, const struct store_identity *identity, uint64_t *sequence)
{
	int file = disk_open(disk, "superblock.new", DISK_CREATE);
	int rc;

	if (file < 0)
		return file;
	rc = copies_write(disk, file, identity, sequence);
	disk_close(disk, file);
	if (rc == 0)
		rc = disk_rename(disk, "superblock.new", "superblock");
	return rc < 0 ? rc : disk_sync_dir(disk, "");
}
