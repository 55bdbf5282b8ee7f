/* A client core with a test in the place of its glue, its name server and its storage servers. */
#ifndef MUSTER_TESTS_CLIENT_FAKE_H
#define MUSTER_TESTS_CLIENT_FAKE_H

#include "client_core.h"
#include "error.h"

enum { FAKE_SERVERS = 3 };

struct fake {
	struct client *client;
	struct client_outbox outbox;
	struct arena arena;
	struct buffer reply;
	uint64_t now_ms;
	size_t seen; /* actions looked at */
	struct id servers[FAKE_SERVERS];
	struct id proof;
};

void fake_open(struct fake *fake, enum client_transfer transfer);
void fake_open_patient(struct fake *fake, enum client_transfer transfer, uint64_t timeout_ms);

void fake_open_config(struct fake *fake, const struct client_config *config);
void fake_close(struct fake *fake);

void fake_step(struct fake *fake, struct client_event event); /* forgets earlier actions */
void fake_wait(struct fake *fake, uint64_t ms);               /* ticks as the glue would */
void fake_beacon(struct fake *fake, uint8_t cluster, uint8_t server);
struct client_start fake_start(struct fake *fake);

/* The next action of that kind since the last step; NULL: none. */
const struct client_action *fake_action(struct fake *fake, enum client_action_kind kind);
/* The frame that was sent with that code, among all actions since the last step; its connection in
 * *ret_connection (may be NULL). Fails the test where there is none. */
struct message fake_sent(struct fake *fake, unsigned int code, uint64_t *ret_connection);
bool fake_was_sent(struct fake *fake, unsigned int code);

void fake_reply(struct fake *fake, uint64_t connection, const struct message *to, const void *body);
void fake_reply_flags(struct fake *fake, uint64_t connection, const struct message *to,
		      const void *body, uint8_t flags);
void fake_refuse(struct fake *fake, uint64_t connection, const struct message *to, int error);
void fake_request(struct fake *fake, uint64_t connection, unsigned int code, const void *body);

/* Through discovery, HELLO and PORT. Returns the control connection. */
uint64_t fake_connect(struct fake *fake);
/* Server `index` dials the client on that lane, as after CONNECT. Returns the connection. */
uint64_t fake_dialled(struct fake *fake, unsigned int index, uint8_t lane);

struct node_address fake_address(const struct fake *fake, unsigned int index);
struct receipt fake_receipt(const struct fake *fake, unsigned int index, uint64_t chunk,
			    uint64_t length);

#endif
