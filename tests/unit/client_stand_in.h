/* Storage servers that stand in for a name server, played by a test. */
#ifndef MUSTER_TESTS_CLIENT_STAND_IN_H
#define MUSTER_TESTS_CLIENT_STAND_IN_H

#include "client_fake.h"

static const struct id stand_in_cluster = { { 'C', 1 } };

void storage_beacon(struct fake *fake, uint8_t cluster, unsigned int index);
/* The connection is open; whoever is there answers the client's HELLO. */
void hello_answer(struct fake *fake, uint64_t connection, uint8_t role, struct id self);
/* The dial has been taken, and HELLO asked. */
void hello_say(struct fake *fake, uint64_t connection, const struct message *asked, uint8_t role,
	       struct id self);
/* Until the client wants that; fails the test after a while. */
const struct client_action *wait_for(struct fake *fake, enum client_action_kind kind);
/* Server `index` is heard, dialled and greeted. Returns the control connection. */
uint64_t stand_in(struct fake *fake, unsigned int index);
void session_want(struct fake *fake);
uint64_t open_degraded(struct fake *fake);
struct client_state state_of(const struct fake *fake);

#endif
