/* The 32-byte header in front of everything that travels over TCP. Little-endian:
 *
 *     0 u16 type, bit 15 set in a reply   2 u8 flags    3 u8 status (0 in requests)
 *     4 u32 request id                    8 u64 arg1   16 u64 arg2
 *    24 u32 body length                  28 u32 padding, zero */
#ifndef MUSTER_PROTOCOL_FRAME_H
#define MUSTER_PROTOCOL_FRAME_H

#include <stdbool.h>

#include "bounds.h"
#include "bytes.h"

enum frame_flags {
	FRAME_LAST = 1 << 0,     /* DATA: the last of the transfer */
	FRAME_ABORT = 1 << 1,    /* DATA: the sender gives up; what came before is void */
	FRAME_MORE = 1 << 2,     /* reply: another with the same id follows */
	FRAME_DEGRADED = 1 << 3, /* reply: from a catalogue that may not be the newest */
	FRAME_FLAGS_ALL = 15,
};

struct frame_header {
	uint16_t type; /* without the reply bit */
	bool reply;
	uint8_t flags;
	uint8_t status;
	uint32_t id;
	uint64_t arg1;
	uint64_t arg2;
	uint32_t body_size;
};

void frame_header_encode(const struct frame_header *header, uint8_t ret[FRAME_HEADER_SIZE]);

/* -ERR_BAD_REQUEST: unknown flag, non-zero padding, a status in a request.
 * -ERR_TOO_LARGE: the body is longer than its kind allows (control or DATA). The id and type in
 * `ret` are filled in either case, so that the sender can be told. An unknown type is no error
 * here: its frame can be skipped and answered with UNSUPPORTED. */
int frame_header_decode(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame_header *ret);

/* Looks for one whole frame at the start of `data`. 1: found, *ret_size is its length with the
 * header; 0: more bytes are needed (*ret_size: how many are needed in all, as far as known);
 * negative: as frame_header_decode; the stream cannot be followed any further. */
int frame_next(const uint8_t *data, size_t size, struct frame_header *ret, size_t *ret_size);

/* DATA frames: header, one CRC32C per 64 KiB block of the payload, payload. */
enum { DATA_CRCS_SIZE_MAX = DATA_PAYLOAD_MAX / (64 * 1024) * 4 };

struct data_head {
	uint32_t id;
	uint8_t flags; /* FRAME_LAST, FRAME_ABORT */
	uint64_t offset;
	uint32_t length; /* of the payload; 0 only with ABORT */
};

/* Writes header and CRCs; returns their size. The payload follows by other means (sendfile). */
size_t data_head_encode(const struct data_head *head, const uint8_t *crcs,
			uint8_t ret[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX]);
/* From the decoded header of a DATA frame; checks that lengths agree, that the offset lies on a
 * block and within CHUNK_SIZE_MAX. *ret_crcs_size: bytes of CRCs before the payload. */
int data_head_decode(const struct frame_header *header, struct data_head *ret,
		     size_t *ret_crcs_size);

#endif
