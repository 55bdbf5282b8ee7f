/* PUT_BEGIN to PUT_ABORT, but for the commit. */
#include "letting_go.h"
#include "path.h"

static uint64_t chunks_of(uint64_t size, uint32_t chunk_size)
{
	return size / chunk_size + (size % chunk_size != 0);
}

/* Most bytes that the next place of the put can need; 0: it has them all. */
static uint32_t next_length(const struct put *put)
{
	uint64_t done = (uint64_t)put->count * put->chunk_size;
	uint64_t rest;

	if (put->size == SIZE_UNKNOWN)
		return put->chunk_size;
	rest = put->size > done ? put->size - done : 0;
	return rest < put->chunk_size ? (uint32_t)rest : put->chunk_size;
}

/* ---- places in answers ---- */

struct place_list {
	struct node_list nodes;
	struct place *places;
	unsigned int count;
};

static int place_list_init(struct nameserver *ns, struct place_list *list,
			   const struct client *client, unsigned int places)
{
	list->count = 0;
	list->places = arena_alloc(&ns->arena, (places ? places : 1) * sizeof(*list->places));
	if (!list->places)
		return -ERR_NO_MEMORY;
	return node_list_init(ns, &list->nodes, client, NODES_PAGE_MAX);
}

static int place_holder(struct nameserver *ns, struct place_list *list, const struct lease *lease,
			const struct member *member, struct holder *ret)
{
	struct ticket ticket = {
		.operation = TICKET_WRITE,
		.chunk = lease->chunk,
		.length = lease->length_max,
	};

	return holder_add(ns, &list->nodes, member, &ticket, ret);
}

static enum lane lane_of(uint64_t length)
{
	return length > SMALL_CHUNK_MAX ? LANE_LARGE : LANE_SMALL;
}

/* Tells the client of a lease, and the head of its chain of the client. */
static int place_list_add(struct nameserver *ns, struct place_list *list, const struct lease *lease)
{
	struct holder *holders = arena_alloc(&ns->arena, lease->count * sizeof(*holders));
	struct place *place = &list->places[list->count];

	if (!holders)
		return -ERR_NO_MEMORY;
	for (unsigned int i = 0; i < lease->count; i++) {
		const struct member *member = member_by_number(ns, lease->holders[i]);
		int rc = place_holder(ns, list, lease, member, &holders[i]);

		if (rc < 0)
			return rc;
	}
	*place = (struct place){
		.chunk = lease->chunk,
		.holders = holders,
		.holders_count = lease->count,
	};
	list->count++;
	client_tell(ns, lease->put->client, member_by_number(ns, lease->holders[0]),
		    lane_of(lease->length_max), false);
	return 0;
}

struct lease_how {
	unsigned int places;
	unsigned int copies;
	uint32_t length; /* most bytes; 0: what the put says */
};

/* Leases up to `places`. Refused only if there is none at all. */
static int lease_places(struct nameserver *ns, struct put *put, const struct lease_how *how,
			struct place_list *list)
{
	int rc = 0;

	while (rc == 0 && list->count < how->places) {
		uint32_t length = how->length ? how->length : next_length(put);
		struct lease *lease;

		if (length == 0)
			break;
		rc = put->count < PUT_CHUNKS_MAX_ ? lease_new(ns, put, length, how->copies, &lease)
						  : -ERR_TOO_LARGE;
		if (rc < 0)
			break;
		rc = place_list_add(ns, list, lease);
		if (rc < 0)
			lease_free(ns, lease, false);
	}
	return list->count ? 0 : rc;
}

/* ---- PUT_BEGIN ---- */

static int space_check(struct nameserver *ns, uint64_t size, unsigned int copies)
{
	unsigned int online = members_online(ns);
	uint64_t room = 0;

	if (members_are_coming(ns))
		return -ERR_BUSY;
	if (online == 0)
		return -ERR_NO_NODES;
	if (size == SIZE_UNKNOWN)
		return 0;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (ns->sorted[i]->state == NODE_ONLINE && !ns->sorted[i]->disk_failed)
			room += member_room(ns->sorted[i]);
	}
	return size > room / (copies < online ? copies : online) ? -ERR_NO_SPACE : 0;
}

int put_target(struct nameserver *ns, struct slice path, unsigned int flags, uint8_t *ret_copies)
{
	struct inode inode;
	int rc;

	if (!(flags & PUT_APPEND))
		return catalogue_check_file(ns->kv, path, flags & PUT_REPLACE, ret_copies);
	rc = catalogue_find(ns->kv, path, &inode);
	if (rc < 0)
		return rc;
	*ret_copies = inode.copies;
	return inode.type == ENTRY_FILE ? 0 : -ERR_IS_DIR;
}

static int put_begin_check(struct nameserver *ns, const struct client *client,
			   const struct put_begin_request *request, uint8_t *ret_copies)
{
	int rc = path_check(request->path);

	if (rc < 0)
		return rc;
	if (request->copies > COPIES_MAX)
		return -ERR_BAD_REQUEST;
	if (request->flags & PUT_APPEND && (request->flags & PUT_REPLACE || request->copies))
		return -ERR_BAD_REQUEST;
	rc = put_target(ns, request->path, request->flags, ret_copies);
	if (rc < 0)
		return rc;
	if (request->copies)
		*ret_copies = (uint8_t)request->copies;
	if (*ret_copies == 0)
		*ret_copies = ns->config.copies;
	if (request->size != SIZE_UNKNOWN &&
	    chunks_of(request->size, ns->config.chunk_size) > PUT_CHUNKS_MAX_)
		return -ERR_TOO_LARGE;
	if (client->put_count >= PUTS_PER_CLIENT_MAX)
		return -ERR_BUSY;
	return request->size ? space_check(ns, request->size, *ret_copies) : 0;
}

static int put_begin(struct nameserver *ns, const struct session *from,
		     const struct put_begin_request *request, struct put_begin_reply *reply)
{
	struct lease_how how = { .places = request->places };
	struct place_list list;
	struct put *put;
	uint8_t copies;
	int rc = put_begin_check(ns, from->client, request, &copies);

	if (rc == 0)
		rc = place_list_init(ns, &list, from->client, request->places);
	if (rc < 0)
		return rc;
	put = put_new(ns, from->client, fresh_id(ns, &ns->next_put));
	if (!put)
		return -ERR_NO_MEMORY;
	put->size = request->size;
	put->copies = copies;
	how.copies = copies;
	rc = lease_places(ns, put, &how, &list);
	if (rc < 0) {
		put_free(ns, put);
		return rc;
	}
	*reply = (struct put_begin_reply){
		.put = put->number,
		.chunk_size = put->chunk_size,
		.copies_wanted = copies,
		.nodes = list.nodes.nodes,
		.nodes_count = (uint16_t)list.nodes.count,
		.places = list.places,
		.places_count = (uint16_t)list.count,
	};
	return 0;
}

int on_put_begin(struct nameserver *ns, struct session *from,
		 const struct put_begin_request *request, struct put_begin_reply *reply)
{
	int rc = put_begin(ns, from, request, reply);

	return rc == -ERR_NO_SPACE ? room_wait(ns, request->size) : rc;
}

/* ---- PUT_CHUNKS ---- */

static int ahead_prepare(struct nameserver *ns, struct client *client,
			 const struct put_chunks_request *request, struct lease_how *how)
{
	unsigned int left;

	if (request->length > ns->config.chunk_size)
		return -ERR_BAD_REQUEST;
	if (!client->ahead && !put_new(ns, client, 0))
		return -ERR_NO_MEMORY;
	left = AHEAD_PER_CLIENT_MAX - client->ahead->count;
	if (left == 0 || members_are_coming(ns))
		return -ERR_BUSY;
	how->places = how->places < left ? how->places : left;
	how->copies = request->copies ? (unsigned int)request->copies : ns->config.copies;
	how->length = request->length ? request->length : ns->config.chunk_size;
	return 0;
}

int on_put_chunks(struct nameserver *ns, struct session *from,
		  const struct put_chunks_request *request, struct put_chunks_reply *reply)
{
	struct lease_how how = { .places = request->places };
	struct place_list list;
	struct put *put;
	int rc = place_list_init(ns, &list, from->client, request->places);

	if (rc == 0 && (request->places == 0 || request->copies > COPIES_MAX))
		rc = -ERR_BAD_REQUEST;
	if (rc == 0 && request->put == 0)
		rc = ahead_prepare(ns, from->client, request, &how);
	if (rc < 0)
		return rc;
	put = put_find(ns, from->client, request->put);
	if (!put)
		return -ERR_EXPIRED;
	if (put->number)
		how.copies = put->copies;
	put_renew(ns, put);
	rc = lease_places(ns, put, &how, &list);
	if (rc < 0)
		return rc == -ERR_NO_SPACE ? room_wait(ns, SIZE_UNKNOWN) : rc;
	reply->nodes = list.nodes.nodes;
	reply->nodes_count = (uint16_t)list.nodes.count;
	reply->places = list.places;
	reply->places_count = (uint16_t)list.count;
	return 0;
}

/* ---- PUT_REPLACE ---- */

/* Never a server that the chunk was already offered to; far from those that hold it. */
static int replacement_choose(struct nameserver *ns, const struct lease *lease,
			      const struct put_replace_request *request, struct member **ret)
{
	const struct member *avoid[LEASE_HOLDERS_MAX + COPIES_MAX], *near[LEASE_HOLDERS_MAX];
	struct placement wanted = { lease->length_max, 1, avoid, 0, near, 0 };
	struct member *chosen[COPIES_MAX];
	int rc;

	for (unsigned int i = 0; i < lease->count; i++) {
		const struct member *member = member_by_number(ns, lease->holders[i]);

		avoid[wanted.avoid_count++] = member;
		if (!id_equal(&member->row.node, &request->dead) && member_is_up(member))
			near[wanted.near_count++] = member;
	}
	for (unsigned int i = 0; i < request->have_count; i++) {
		const struct member *member = member_find(ns, &request->have[i].node);

		if (member)
			avoid[wanted.avoid_count++] = member;
	}
	rc = placement_choose(ns, &wanted, chosen);
	if (rc < 0)
		return rc;
	*ret = chosen[0];
	return 0;
}

int on_put_replace(struct nameserver *ns, struct session *from,
		   const struct put_replace_request *request, struct put_replace_reply *reply)
{
	struct put *put = put_find(ns, from->client, request->put);
	struct lease *lease = lease_find(ns, request->chunk);
	struct place_list list;
	struct member *member;
	struct holder *holder;
	int rc;

	if (!put || !lease || lease->put != put)
		return -ERR_EXPIRED;
	put_renew(ns, put);
	lease_give_up(ns, lease, &request->dead);
	rc = place_list_init(ns, &list, from->client, 1);
	holder = arena_alloc(&ns->arena, sizeof(*holder));
	if (rc < 0 || !holder)
		return -ERR_NO_MEMORY;
	rc = replacement_choose(ns, lease, request, &member);
	if (rc == 0)
		rc = lease_holder_add(lease, member);
	if (rc == 0)
		rc = place_holder(ns, &list, lease, member, holder);
	if (rc < 0)
		return rc;
	client_tell(ns, from->client, member, lane_of(lease->length_max), false);
	reply->nodes = list.nodes.nodes;
	reply->nodes_count = (uint16_t)list.nodes.count;
	reply->place = (struct place){
		.chunk = lease->chunk,
		.holders = holder,
		.holders_count = 1,
	};
	return 0;
}

/* ---- PUT_SEAL, PUT_ABORT ---- */

int on_put_seal(struct nameserver *ns, struct session *from, const struct put_seal_request *request,
		struct put_seal_reply *reply)
{
	struct put *put = put_find(ns, from->client, request->put);
	int rc;

	if (!put)
		return -ERR_EXPIRED;
	put_renew(ns, put);
	rc = receipts_take(ns, put, request->receipts, request->receipts_count);
	reply->sealed = put->sealed;
	return rc;
}

int on_put_abort(struct nameserver *ns, struct session *from,
		 const struct put_abort_request *request, struct put_abort_reply *reply)
{
	struct put *put = put_find(ns, from->client, request->put);

	(void)reply;
	if (put)
		put_free(ns, put);
	return 0;
}
