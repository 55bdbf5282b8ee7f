/* A running script; only the runner's own files see this. */
#ifndef MUSTER_TESTS_SCRIPT_INSIDE_H
#define MUSTER_TESTS_SCRIPT_INSIDE_H

#include "codec.h"
#include "error.h"
#include "script.h"
#include "script_text.h"

enum { PARTICIPANTS_MAX = 32, PENDING_MAX = 512 };

/* A frame that has come and that no line has asked for yet. */
struct frame {
	struct frame_header header;
	uint8_t *body;
	bool taken;
};

enum participant_kind { DIALS_AS_CLIENT, DIALS_AS_STORAGE, IS_NAMESERVER, IS_LISTENER };

struct participant {
	char name[32];
	enum participant_kind kind;
	void *place;      /* where it is dialled */
	void *connection; /* NULL: none */
	uint32_t next_id;
	uint32_t asked[PENDING_MAX]; /* ids of requests whose reply no line has expected yet */
	unsigned int asked_count;
	struct frame frames[PENDING_MAX];
	unsigned int frame_count;
	struct frame_header order; /* the last one taken */
	bool wants_heartbeat, wants_pull;
	bool takes_batches; /* the script answers them */
	bool holds;
	struct buffer held;
};

struct script {
	const struct script_how *how;
	struct script_result *result;
	struct variables variables;
	struct arena arena;
	uint64_t numbers; /* given out so far */
	struct participant participants[PARTICIPANTS_MAX];
	unsigned int participant_count;
};

/* Notes what was wrong; returns `error`. */
int script_fail(struct script *script, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* script.c */
int participant_open(struct script *script, struct participant *participant);
void participant_close(struct script *script, struct participant *participant);
int participant_listen(struct script *script, struct participant *participant);

/* script_frames.c */
int frame_receive(struct script *script, struct participant *participant, bool patient);
int frame_send(struct script *script, struct participant *participant, const struct buffer *frame);
int message_send(struct script *script, struct participant *participant, const char *text,
		 bool reply);
int reply_expect(struct script *script, struct participant *participant, const char *expected);
int order_expect(struct script *script, struct participant *participant, const char *expected);
/* The next DATA frame with that id. */
int data_wait(struct script *script, struct participant *participant, uint32_t id,
	      const struct frame **ret);
void asked_pop(struct participant *participant);

/* script_verbs.c: a line of a participant. */
int verb_run(struct script *script, struct participant *participant, const char *name,
	     const char *text);

/* script_commands.c: a line that is no participant's. -ERR_NOT_FOUND: no such command; 1: the rest
 * of the script is skipped. */
int command_run(struct script *script, const char *line);

/* Bytes [offset, offset + size) of what all chunks are made of. */
void pattern_fill(uint8_t *ret, uint64_t offset, size_t size);

#endif
