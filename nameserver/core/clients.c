/* Clients: what they hold open, the port they lease, who has been told to dial them. */
#include "endpoint.h"
#include "ns_state.h"
#include "text.h"

/* ---- contents held open ---- */

static struct inode_use *inode_use_find(const struct nameserver *ns, uint64_t inode)
{
	struct inode_use *use;

	HASH_FIND(hh, ns->inode_uses, &inode, sizeof(inode), use);
	return use;
}

bool inode_is_open(const struct nameserver *ns, uint64_t inode)
{
	return inode_use_find(ns, inode) != NULL;
}

static void opened_free(struct nameserver *ns, struct client *client, struct opened *opened)
{
	struct inode_use *use = inode_use_find(ns, opened->inode);

	if (--use->count == 0) {
		HASH_DEL(ns->inode_uses, use);
		free(use);
		ns->garbage = true;
	}
	TAILQ_REMOVE(&client->opened_order, opened, order);
	HASH_DEL(client->opened, opened);
	ns->opened_count--;
	free(opened);
}

static int inode_use_add(struct nameserver *ns, uint64_t inode)
{
	struct inode_use *use = inode_use_find(ns, inode);

	if (!use) {
		use = calloc(1, sizeof(*use));
		if (!use)
			return -ERR_NO_MEMORY;
		use->inode = inode;
		HASH_ADD(hh, ns->inode_uses, inode, sizeof(use->inode), use);
	}
	use->count++;
	return 0;
}

bool client_has_open(const struct client *client, uint64_t inode)
{
	struct opened *opened;

	HASH_FIND(hh, client->opened, &inode, sizeof(inode), opened);
	return opened != NULL;
}

int client_open(struct nameserver *ns, struct client *client, uint64_t inode)
{
	struct opened *opened;

	HASH_FIND(hh, client->opened, &inode, sizeof(inode), opened);
	if (opened)
		return 0;
	if (HASH_COUNT(client->opened) >= OPENED_PER_CLIENT_MAX || ns->opened_count >= OPENED_MAX) {
		if (!client->opened)
			return -ERR_BUSY;
		opened_free(ns, client, TAILQ_FIRST(&client->opened_order));
	}
	opened = calloc(1, sizeof(*opened));
	if (!opened)
		return -ERR_NO_MEMORY;
	if (inode_use_add(ns, inode) < 0) {
		free(opened);
		return -ERR_NO_MEMORY;
	}
	ns->opened_count++;
	opened->inode = inode;
	HASH_ADD(hh, client->opened, inode, sizeof(opened->inode), opened);
	TAILQ_INSERT_TAIL(&client->opened_order, opened, order);
	return 0;
}

int on_close(struct nameserver *ns, struct session *from, const struct close_request *request,
	     struct close_reply *reply)
{
	struct opened *opened;

	(void)reply;
	HASH_FIND(hh, from->client->opened, &request->inode, sizeof(request->inode), opened);
	if (opened)
		opened_free(ns, from->client, opened);
	return 0;
}

/* ---- coming and going ---- */

static void client_free(struct nameserver *ns, struct client *client)
{
	struct opened *opened, *next_opened;
	struct put *put;

	while ((put = LIST_FIRST(&client->puts)))
		put_free(ns, put);
	if (client->ahead)
		put_free(ns, client->ahead);
	HASH_ITER(hh, client->opened, opened, next_opened)
		opened_free(ns, client, opened);
	HASH_DEL(ns->clients, client);
	free(client->rejected);
	free(client->told);
	free(client);
}

static struct client *client_new(struct nameserver *ns, const struct id *id)
{
	struct client *client = TAILQ_FIRST(&ns->fading);

	if (HASH_COUNT(ns->clients) >= CLIENTS_MAX) {
		if (!client)
			return NULL;
		TAILQ_REMOVE(&ns->fading, client, gone);
		client_free(ns, client);
	}
	client = calloc(1, sizeof(*client));
	if (!client)
		return NULL;
	client->id = *id;
	LIST_INIT(&client->puts);
	TAILQ_INIT(&client->opened_order);
	HASH_ADD(hh, ns->clients, id, sizeof(client->id), client);
	return client;
}

static void client_event(struct nameserver *ns, const char *event, const struct client *client,
			 const struct session *session)
{
	char id[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	if (ns->config.debug)
		ns_event(ns, LOG_DEBUG, event, "client=%s address=%s", id_format(&client->id, id),
			 endpoint_format(&session->peer, address));
}

int client_attach(struct nameserver *ns, struct session *session)
{
	struct client *client;

	HASH_FIND(hh, ns->clients, &session->self, sizeof(session->self), client);
	if (client && client->session)
		session_close(ns, client->session);
	if (!client)
		client = client_new(ns, &session->self);
	else if (client->stage == CLIENT_GONE)
		TAILQ_REMOVE(&ns->gone, client, gone);
	else if (client->stage == CLIENT_FADING)
		TAILQ_REMOVE(&ns->fading, client, gone);
	if (!client)
		return -ERR_BUSY;
	client->stage = CLIENT_HERE;
	client->session = session;
	client->machine = session->machine;
	session->client = client;
	client_event(ns, "client_joined", client, session);
	return 0;
}

static void told_clear(struct client *client)
{
	if (client->told)
		memset(client->told, 0, client->told_size);
}

void client_detach(struct nameserver *ns, struct client *client)
{
	client_event(ns, "client_left", client, client->session);
	client->session = NULL;
	client->stage = CLIENT_GONE;
	client->gone_ms = ns->now_ms;
	client->port = 0;
	told_clear(client);
	TAILQ_INSERT_TAIL(&ns->gone, client, gone);
}

/* After 30 s its puts and open contents go; after 10 minutes it is a stranger again, and
 * results_tick() may drop its recorded answers. */
void clients_tick(struct nameserver *ns)
{
	struct client *client;
	struct opened *opened, *next;

	while ((client = TAILQ_FIRST(&ns->gone)) &&
	       ns->now_ms - client->gone_ms >= CLIENT_GONE_MS) {
		TAILQ_REMOVE(&ns->gone, client, gone);
		TAILQ_INSERT_TAIL(&ns->fading, client, gone);
		client->stage = CLIENT_FADING;
		while (!LIST_EMPTY(&client->puts))
			put_free(ns, LIST_FIRST(&client->puts));
		if (client->ahead)
			put_free(ns, client->ahead);
		HASH_ITER(hh, client->opened, opened, next)
			opened_free(ns, client, opened);
	}
	while ((client = TAILQ_FIRST(&ns->fading)) &&
	       ns->now_ms - client->gone_ms >= CLIENT_FORGET_MS) {
		TAILQ_REMOVE(&ns->fading, client, gone);
		client_free(ns, client);
	}
}

void clients_excuse(struct nameserver *ns, uint64_t ms)
{
	struct client *client;

	TAILQ_FOREACH(client, &ns->gone, gone)
		client->gone_ms = excused(ns, client->gone_ms, ms);
}

uint64_t clients_deadline(const struct nameserver *ns)
{
	const struct client *gone = TAILQ_FIRST(&ns->gone);
	const struct client *fading = TAILQ_FIRST(&ns->fading);
	uint64_t a = gone ? gone->gone_ms + CLIENT_GONE_MS : UINT64_MAX;
	uint64_t b = fading ? fading->gone_ms + CLIENT_FORGET_MS : UINT64_MAX;

	return a < b ? a : b;
}

void clients_free(struct nameserver *ns)
{
	struct client *client, *next;

	HASH_ITER(hh, ns->clients, client, next)
		client_free(ns, client);
}

/* ---- the leased port ---- */

static unsigned int port_count(const struct nameserver *ns)
{
	return ns->config.client_port_last - ns->config.client_port_first + 1u;
}

/* Sets of ports have a bit for each port of the range. */
static bool bit_is_set(const uint8_t *set, unsigned int bit)
{
	return set[bit / 8] >> bit % 8 & 1;
}

static void bit_set(uint8_t *set, unsigned int bit)
{
	set[bit / 8] = (uint8_t)(set[bit / 8] | 1u << bit % 8);
}

/* Clients of one machine share its ports, and so do clients seen at one address. */
static void ports_taken(const struct nameserver *ns, const struct client *client, uint8_t *set)
{
	const struct session *session, *next;

	HASH_ITER(hh, ns->sessions, session, next) {
		const struct client *other = session->client;

		if (!other || other == client || !other->port)
			continue;
		if ((!id_is_none(&client->machine) &&
		     id_equal(&other->machine, &client->machine)) ||
		    id_equal(&session->peer.address, &client->session->peer.address))
			bit_set(set, (unsigned int)other->port - ns->config.client_port_first);
	}
}

static int port_reject(const struct nameserver *ns, struct client *client, uint64_t port)
{
	if (port < ns->config.client_port_first || port > ns->config.client_port_last)
		return -ERR_BAD_REQUEST;
	if (!client->rejected)
		client->rejected = calloc(1, port_count(ns) / 8 + 1);
	if (!client->rejected)
		return -ERR_NO_MEMORY;
	bit_set(client->rejected, (unsigned int)port - ns->config.client_port_first);
	return 0;
}

static uint16_t port_choose(struct nameserver *ns, const struct client *client)
{
	uint8_t taken[65536 / 8] = { 0 };
	unsigned int count = port_count(ns), first = ns->config.client_port_first;

	ports_taken(ns, client, taken);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int bit = (ns->next_port - first + i) % count;

		if (bit_is_set(taken, bit) ||
		    (client->rejected && bit_is_set(client->rejected, bit)))
			continue;
		ns->next_port = (uint16_t)(first + (bit + 1) % count);
		return (uint16_t)(first + bit);
	}
	return 0;
}

static void proof_make(struct nameserver *ns, struct client *client)
{
	uint8_t label[5 + ID_SIZE + 16] = "proof";
	struct key key;

	memcpy(label + 5, client->id.bytes, ID_SIZE);
	put_u64(label + 5 + ID_SIZE, ns->start);
	put_u64(label + 5 + ID_SIZE + 8, ++ns->proofs);
	key_derive(&ns->config.secret, label, sizeof(label), &key);
	memcpy(client->proof.bytes, key.bytes, ID_SIZE);
}

int on_port(struct nameserver *ns, struct session *from, const struct port_request *request,
	    struct port_reply *reply)
{
	struct client *client = from->client;
	int rc = request->rejected ? port_reject(ns, client, request->rejected) : 0;

	if (rc < 0)
		return rc;
	client->port = port_choose(ns, client);
	if (!client->port)
		return -ERR_NO_PORT;
	told_clear(client);
	proof_make(ns, client);
	reply->port = client->port;
	reply->proof = client->proof;
	return 0;
}

/* ---- telling storage servers to dial ---- */

static int told_room(struct client *client, uint16_t number)
{
	size_t size = (size_t)number + 64;
	uint8_t *told;

	if (number < client->told_size)
		return 0;
	told = realloc(client->told, size);
	if (!told)
		return -ERR_NO_MEMORY;
	memset(told + client->told_size, 0, size - client->told_size);
	client->told = told;
	client->told_size = size;
	return 0;
}

/* Where that storage server reaches the client. A client that we see at a loopback address runs on
 * our machine: others find it at the address where they found us. */
static struct endpoint client_address(const struct client *client, const struct member *member)
{
	struct endpoint endpoint = client->session->peer;

	if (endpoint_is_loopback(&endpoint) && !endpoint_is_loopback(&member->session->peer))
		endpoint = member->session->local;
	endpoint.flags = ENDPOINT_SEEN;
	if (endpoint_is_loopback(&endpoint))
		endpoint.flags |= ENDPOINT_LOOPBACK;
	endpoint.port = client->port;
	return endpoint;
}

void client_tell(struct nameserver *ns, struct client *client, struct member *member,
		 enum lane lane, bool again)
{
	struct connect_request order;
	uint8_t bit = (uint8_t)(1u << lane);

	if (!client->port || !client->session || !member->session)
		return;
	if (told_room(client, member->row.number) < 0)
		return;
	if (client->told[member->row.number] & bit && !again)
		return;
	client->told[member->row.number] |= bit;
	order = (struct connect_request){
		.lane = lane,
		.client = client->id,
		.proof = client->proof,
		.endpoint = client_address(client, member),
	};
	order_send(ns, member->session->conn, MSG_connect, &order);
}

int on_dial(struct nameserver *ns, struct session *from, const struct dial_request *request,
	    struct dial_reply *reply)
{
	struct member *member = member_find(ns, &request->node);

	(void)reply;
	if (request->lane > LANE_LARGE)
		return -ERR_BAD_REQUEST;
	if (!from->client->port)
		return -ERR_NO_PORT;
	if (!member)
		return -ERR_NOT_FOUND;
	if (!member->session)
		return -ERR_UNAVAILABLE;
	client_tell(ns, from->client, member, (enum lane)request->lane, true);
	return 0;
}

/* When the server registers again, all its connections are gone. */
void clients_untell(struct nameserver *ns, const struct member *member)
{
	struct client *client, *next;

	HASH_ITER(hh, ns->clients, client, next) {
		if (member->row.number < client->told_size)
			client->told[member->row.number] = 0;
	}
}
