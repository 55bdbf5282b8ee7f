#include "quorum_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct ns_driver d;
struct ns_peer *client, *servers[SERVERS + 1];

void server_comes(unsigned int number)
{
	servers[number] = driver_storage(&d, number);
}

void start(unsigned int count)
{
	driver_start(&d, &(struct nameserver_config){ .trash_ms = 1000,
						      .journal_patience_ms = PATIENCE_MS });
	d.follow = true;
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= count; i++)
		server_comes(i);
	driver_beat(&d, 2 * SOON_MS);
}

uint32_t mkdir_post(const char *path)
{
	client->operation++;
	return POST(client, mkdir, .operation = client->operation, .outstanding = client->operation,
		    .path = slice_of(path));
}

int mkdir_(const char *path)
{
	return driver_answer(client, mkdir_post(path), NULL, 0);
}

struct status_reply status(void)
{
	struct status_reply reply;

	assert_int_equal(ASK(client, status, &reply, .nothing = 0), 0);
	return reply;
}

struct journal_set set_row(void)
{
	struct journal_set set;

	assert_int_equal(journal_set_get(d.kv, &set), 0);
	return set;
}

bool is_in_set(unsigned int number)
{
	const struct journal_set set = set_row();
	const struct id id = id_of(number);

	return journal_members_have(&set.now, &id);
}

void drain(unsigned int number, bool on)
{
	client->operation++;
	assert_int_equal(ASK(client, drain, NULL, .operation = client->operation,
			     .outstanding = client->operation, .on = on, .node = id_of(number)),
			 0);
}

/* Asks for the root: the status, and whether the answer has the flag. */
int stat_root(bool *ret_degraded)
{
	uint32_t id = POST(client, stat, .path = slice_of("/"));

	for (size_t i = 0; i < client->count; i++) {
		const struct ns_received *received = &client->received[i];

		if (!received->taken && received->message.reply && received->message.id == id)
			*ret_degraded = received->message.flags & FRAME_DEGRADED;
	}
	return driver_answer(client, id, NULL, 0);
}

void assert_serves(void)
{
	char path[32];
	bool degraded = true;

	snprintf(path, sizeof(path), "/ok%u", (unsigned int)client->operation);
	assert_int_equal(mkdir_(path), 0);
	assert_int_equal(stat_root(&degraded), 0);
	assert_false(degraded);
	assert_int_equal(status().state, SERVICE_FULL);
	assert_int_equal(status().writable, 1);
}

void assert_read_only(void)
{
	bool degraded = false;

	assert_int_equal(mkdir_("/no"), -ERR_NO_QUORUM);
	assert_int_equal(ASK(client, put_begin, NULL, .size = 1, .places = 1,
			     .path = slice_of("/no")),
			 -ERR_NO_QUORUM);
	assert_int_equal(stat_root(&degraded), 0);
	assert_true(degraded);
	assert_int_equal(status().state, SERVICE_READ_ONLY);
	assert_int_equal(status().writable, 0);
}

/* All that it was sent and has not acknowledged. */
void acknowledge(struct ns_peer *peer)
{
	const struct message *order;

	peer->follows = true;
	while ((order = driver_next(peer, MSG_batch)))
		driver_obey(peer, order);
}

/* What it has answered already is not for acknowledge(). */
void silence(struct ns_peer *peer)
{
	driver_orders(peer, MSG_batch);
	peer->follows = false;
}

struct ns_peer *greet(uint8_t role, unsigned int number, uint64_t epoch)
{
	struct ns_peer *peer = driver_connect(&d, "10.2.0.9", "10.0.0.1");

	POST(peer, hello, .versions = 1 << 16 | PROTOCOL_VERSION, .role = role,
	     .cluster = nameserver_info(d.ns).cluster, .self = id_of(number), .epoch = epoch);
	return peer;
}

int forget(unsigned int number)
{
	client->operation++;
	return ASK(client, forget, NULL, .operation = client->operation,
		   .outstanding = client->operation, .node = id_of(number));
}
