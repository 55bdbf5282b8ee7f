/* A storage server's core with a store in memory, and the other sides of its connections. */
#ifndef MUSTER_STORAGE_FIXTURE_H
#define MUSTER_STORAGE_FIXTURE_H

#include "codec.h"
#include "storage.h"
#include "ticket.h"

enum { FAKE_CHUNKS_MAX = 64 };

struct fake_chunk {
	uint64_t chunk;
	uint32_t length;
	struct digest digest;
	bool damaged;
};

struct fake_write {
	struct storage_meta meta;
	struct digest wanted; /* as announced; zeros: whatever comes */
	uint32_t filled;
	uint32_t transfer; /* committed as; 0: not yet */
	bool aborted;
};

struct fixture {
	struct storage *core;
	struct storage_config config;
	struct storage_outbox outbox;
	uint64_t now_ms;
	struct arena arena;
	struct buffer scratch;

	struct fake_chunk chunks[FAKE_CHUNKS_MAX];
	unsigned int chunk_count;
	struct fake_write writes[FAKE_CHUNKS_MAX];
	unsigned int write_count, aborted;
	uint64_t free_bytes, used_bytes;
	bool failed;      /* its disk */
	uint32_t scrub_s; /* what REGISTER answers */
	uint64_t epoch;   /* and HELLO of who is dialled; 0: 5 */
	unsigned int adopted;
	struct id adopted_id;
	int promise_error; /* why none can be written down */
	uint64_t promised_epoch;
	struct id promised_server;

	struct key key;
	struct hmac *signer;
	uint64_t nameserver; /* its connection */
	struct id cluster, client;
};

struct id fixture_id(uint8_t fill);
void fixture_init(struct fixture *f); /* the core is made with fixture_start */
void fixture_start(struct fixture *f);
void fixture_done(struct fixture *f);

/* Steps; what the core wants done is in f->outbox until the next. */
void fixture_step(struct fixture *f, struct storage_event event);
void fixture_tick(struct fixture *f, uint64_t after_ms);
void fixture_frame(struct fixture *f, uint64_t connection, const struct message *message);
void fixture_request(struct fixture *f, uint64_t connection, unsigned int code, uint32_t id,
		     const void *body);
void fixture_reply(struct fixture *f, uint64_t connection, unsigned int code, uint32_t id,
		   const void *body);
void fixture_data(struct fixture *f, uint64_t connection, const struct data_head *head,
		  const uint8_t *payload);
/* Like fixture_data for a whole short chunk of `length` bytes of `fill`. */
void fixture_payload(struct fixture *f, uint64_t connection, uint32_t id, uint32_t length,
		     uint8_t fill);

const struct storage_action *fixture_find(const struct fixture *f, enum storage_action_kind kind);
const struct storage_action *fixture_note(const struct fixture *f, enum storage_note what);
/* The n-th message sent to the connection in the last step; NULL: there are fewer. DATA frames
 * have no body. */
const struct message *fixture_sent(struct fixture *f, uint64_t connection, unsigned int n);

/* Takes the core through discovery by --nameserver, HELLO and REGISTER. */
void fixture_register(struct fixture *f);
/* Answers HELLO on a connection that the core dials; returns its handle. */
uint64_t fixture_accept(struct fixture *f, enum role role, const struct id *self);
uint64_t fixture_client(struct fixture *f, enum role role, const struct id *self);
struct ticket fixture_ticket(struct fixture *f, uint64_t chunk, enum ticket_operation operation,
			     uint64_t length);
void fixture_stored(struct fixture *f, uint32_t transfer, int error);

#endif
