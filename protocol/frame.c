#include "frame.h"

#include "error.h"
#include "hash.h"
#include "message.h"

enum { REPLY_BIT = 0x8000 };

void frame_header_encode(const struct frame_header *header, uint8_t ret[FRAME_HEADER_SIZE])
{
	put_u16(ret, (uint16_t)(header->type | (header->reply ? REPLY_BIT : 0)));
	ret[2] = header->flags;
	ret[3] = header->status;
	put_u32(ret + 4, header->id);
	put_u64(ret + 8, header->arg1);
	put_u64(ret + 16, header->arg2);
	put_u32(ret + 24, header->body_size);
	put_u32(ret + 28, 0);
}

static uint32_t body_size_max(const struct frame_header *header)
{
	if (header->type == MSG_data && !header->reply)
		return DATA_CRCS_SIZE_MAX + DATA_PAYLOAD_MAX;
	return BODY_SIZE_MAX;
}

int frame_header_decode(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame_header *ret)
{
	uint16_t type = get_u16(bytes);

	*ret = (struct frame_header){
		.type = type & (REPLY_BIT - 1),
		.reply = type & REPLY_BIT,
		.flags = bytes[2],
		.status = bytes[3],
		.id = get_u32(bytes + 4),
		.arg1 = get_u64(bytes + 8),
		.arg2 = get_u64(bytes + 16),
		.body_size = get_u32(bytes + 24),
	};
	if (ret->flags & ~FRAME_FLAGS_ALL || get_u32(bytes + 28) != 0)
		return -ERR_BAD_REQUEST;
	if (ret->status != 0 && !ret->reply)
		return -ERR_BAD_REQUEST;
	if (ret->body_size > body_size_max(ret))
		return -ERR_TOO_LARGE;
	return 0;
}

int frame_next(const uint8_t *data, size_t size, struct frame_header *ret, size_t *ret_size)
{
	int rc;

	*ret_size = FRAME_HEADER_SIZE;
	if (size < FRAME_HEADER_SIZE)
		return 0;
	rc = frame_header_decode(data, ret);
	if (rc < 0)
		return rc;
	*ret_size += ret->body_size;
	return size >= *ret_size;
}

static size_t crcs_size(uint32_t length)
{
	return block_count(length) * sizeof(uint32_t);
}

size_t data_head_encode(const struct data_head *head, const uint8_t *crcs,
			uint8_t ret[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX])
{
	size_t size = crcs_size(head->length);
	struct frame_header header = {
		.type = MSG_data,
		.flags = head->flags,
		.id = head->id,
		.arg1 = head->offset,
		.arg2 = head->length,
		.body_size = (uint32_t)size + head->length,
	};

	frame_header_encode(&header, ret);
	if (size > 0)
		memcpy(ret + FRAME_HEADER_SIZE, crcs, size);
	return FRAME_HEADER_SIZE + size;
}

int data_head_decode(const struct frame_header *header, struct data_head *ret,
		     size_t *ret_crcs_size)
{
	if (header->type != MSG_data || header->reply)
		return -ERR_BAD_REQUEST;
	if (header->flags & ~(FRAME_LAST | FRAME_ABORT))
		return -ERR_BAD_REQUEST;
	if (header->arg2 > DATA_PAYLOAD_MAX)
		return -ERR_BAD_REQUEST;
	*ret = (struct data_head){
		.id = header->id,
		.flags = header->flags,
		.offset = header->arg1,
		.length = (uint32_t)header->arg2,
	};
	*ret_crcs_size = crcs_size(ret->length);
	if (ret->length == 0 && !(ret->flags & FRAME_ABORT))
		return -ERR_BAD_REQUEST;
	if (header->body_size != *ret_crcs_size + ret->length)
		return -ERR_BAD_REQUEST;
	if (ret->offset % BLOCK_SIZE != 0 || ret->offset > CHUNK_SIZE_MAX - ret->length)
		return -ERR_BAD_REQUEST;
	return 0;
}
