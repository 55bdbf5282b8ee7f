/* The file: magic "MSID", u32 CRC32C of what follows, 16 bytes id, u64 asked epoch, u8 1: it is
 * being rebuilt. */
#include "identity.h"

#include "error.h"
#include "hash.h"
#include "random.h"

#define IDENTITY     "identity"
#define IDENTITY_NEW "identity.new"

enum {
	HEAD_SIZE = 8,
	EPOCH_AT = HEAD_SIZE + ID_SIZE,
	REBUILDING_AT = EPOCH_AT + 8,
	IDENTITY_SIZE = REBUILDING_AT + 1,
	BODY_SIZE = IDENTITY_SIZE - HEAD_SIZE,
};

static const uint8_t magic[4] = { 'M', 'S', 'I', 'D' };

int identity_read(struct disk *disk, struct identity *ret)
{
	uint8_t bytes[IDENTITY_SIZE];
	int file = disk_open(disk, IDENTITY, DISK_READ_ONLY);
	int64_t size;

	if (file < 0)
		return file;
	size = disk_read(disk, file, bytes, sizeof(bytes), 0);
	disk_close(disk, file);
	if (size < 0)
		return (int)size;
	if (size != (int64_t)sizeof(bytes) || memcmp(bytes, magic, sizeof(magic)) != 0 ||
	    get_u32(bytes + 4) != crc32c(bytes + HEAD_SIZE, BODY_SIZE))
		return -ERR_CORRUPT;
	memcpy(ret->server.bytes, bytes + HEAD_SIZE, ID_SIZE);
	ret->asked_epoch = get_u64(bytes + EPOCH_AT);
	ret->rebuilding = bytes[REBUILDING_AT] != 0;
	return 0;
}

static int file_write(struct disk *disk, const uint8_t *bytes, size_t size)
{
	int file = disk_open(disk, IDENTITY_NEW, DISK_CREATE);
	int rc = file < 0 ? file : disk_truncate(disk, file, 0);

	if (rc == 0)
		rc = disk_write(disk, file, bytes, size, 0);
	if (rc == 0)
		rc = disk_sync_file(disk, file);
	if (file >= 0)
		disk_close(disk, file);
	return rc;
}

int identity_write(struct disk *disk, const struct identity *identity)
{
	uint8_t bytes[IDENTITY_SIZE];
	int rc;

	memcpy(bytes, magic, sizeof(magic));
	memcpy(bytes + HEAD_SIZE, identity->server.bytes, ID_SIZE);
	put_u64(bytes + EPOCH_AT, identity->asked_epoch);
	bytes[REBUILDING_AT] = identity->rebuilding;
	put_u32(bytes + 4, crc32c(bytes + HEAD_SIZE, BODY_SIZE));
	rc = file_write(disk, bytes, sizeof(bytes));
	if (rc == 0)
		rc = disk_rename(disk, IDENTITY_NEW, IDENTITY);
	return rc < 0 ? rc : disk_sync_dir(disk, "");
}

int identity_load(struct disk *disk, struct identity *ret, bool *ret_new)
{
	int rc = identity_read(disk, ret);

	*ret_new = rc == -ERR_NOT_FOUND || rc == -ERR_CORRUPT;
	if (!*ret_new)
		return rc;
	*ret = (struct identity){ 0 };
	rc = random_bytes(&ret->server, sizeof(ret->server));
	return rc < 0 ? rc : identity_write(disk, ret);
}
