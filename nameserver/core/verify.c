/* VERIFY: the copies of the next chunks of a file are read and compared where they are, by all
 * their servers at once. A part that is being verified is known by who asked, the content and the
 * offset, so that the request finds it again when it is repeated. */
#include "entries.h"
#include "orders.h"
#include "repair.h"

enum {
	PART_BYTES = 64 * 1024 * 1024, /* or one chunk */
	PARTS_MAX = 256,               /* some 30 KiB each */
	INSPECT_MS = 30 * 1000,        /* for a part, also by a busy disk */
	SILENCE_ROOM_MS = 1000,        /* that a heartbeat may be late */
	BUSY_AGAIN_MS = 200,
	PART_KEPT_MS = 30 * 1000, /* after its end, for the repeated request */
};

/* One copy, or one that there should be. */
struct verify_copy {
	uint16_t number; /* 0: of nobody */
	uint8_t chunk;   /* position in the part */
	uint8_t state;   /* enum copy_state; 0: not known yet */
	bool asked;      /* is part of an order that is under way */
	struct id node;
	struct digest digest;
};

struct part_key {
	struct id asker;
	uint64_t inode, offset;
};

struct verify {
	struct part_key key;
	uint64_t number; /* stands for it in orders */
	uint64_t next;   /* offset behind it */
	uint64_t begun_ms, ended_ms;
	uint64_t again_ms; /* when servers that were busy are asked again; UINT64_MAX: none was */
	struct chunk_row chunks[CHUNKS_MAX];
	struct verify_copy copies[VERIFY_PAGE_MAX];
	unsigned int chunk_count, copy_count;
	bool ended;
	UT_hash_handle hh;
};

static void part_free(struct nameserver *ns, struct verify *part)
{
	HASH_DEL(ns->verifies, part);
	free(part);
}

void verify_free(struct nameserver *ns)
{
	struct verify *part, *next;

	HASH_ITER(hh, ns->verifies, part, next)
		part_free(ns, part);
}

/* There are few. */
static struct verify *part_by_number(const struct nameserver *ns, uint64_t number)
{
	struct verify *part, *next;

	HASH_ITER(hh, ns->verifies, part, next) {
		if (part->number == number)
			return part;
	}
	return NULL;
}

/* ---- findings ---- */

static void part_look(struct nameserver *ns, struct verify *part)
{
	for (unsigned int i = 0; i < part->copy_count; i++) {
		if (!part->copies[i].state)
			return;
	}
	if (part->ended)
		return;
	part->ended = true;
	part->ended_ms = ns->now_ms;
	parked_wake(ns, PARK_VERIFY);
}

static void found_bad(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = place_bad(ns, member, chunk, true);

	if (rc < 0)
		ns->failed = true;
	if (rc > 0)
		corrupt_tell(ns, member, chunk, "verify");
}

static void finding_enter(struct nameserver *ns, struct verify *part, struct verify_copy *copy,
			  const struct chunk_finding *finding)
{
	struct member *member = member_by_number(ns, copy->number);

	copy->asked = false;
	copy->digest = finding->digest;
	switch (finding->status) {
	case 0: copy->state = COPY_OK; break;
	case ERR_BUSY: part->again_ms = ns->now_ms + BUSY_AGAIN_MS; return;
	case ERR_NOT_FOUND: copy->state = COPY_MISSING; break;
	default: copy->state = COPY_MISMATCH; break;
	}
	if (copy->state == COPY_OK && copy_is_bad(member, finding->chunk)) {
		if (place_sound(ns, member, finding->chunk) < 0)
			ns->failed = true;
	} else if (copy->state != COPY_OK) {
		found_bad(ns, member, finding->chunk);
	}
}

/* Without a sign of life, heartbeats included. */
static uint64_t silence_ms(const struct nameserver *ns)
{
	return ns->config.heartbeat_ms + SILENCE_ROOM_MS;
}

static bool is_silent(const struct nameserver *ns, const struct member *member)
{
	return member->state != NODE_ONLINE || !member->session ||
	       ns->now_ms - member->heard_ms >= silence_ms(ns);
}

static void inspect_done(struct nameserver *ns, const struct order_result *result)
{
	struct verify *part = part_by_number(ns, result->subject);
	const struct inspect_reply *reply = result->reply;

	if (result->error == -ERR_TIMEOUT && !is_silent(ns, result->member))
		result->member->stuck_until_ms = ns->now_ms + INSPECT_MS;
	for (unsigned int i = 0; part && i < part->copy_count; i++) {
		struct verify_copy *copy = &part->copies[i];
		unsigned int at = 0;

		if (!copy->asked || copy->number != result->member->row.number)
			continue;
		while (reply && at < reply->findings_count &&
		       reply->findings[at].chunk != part->chunks[copy->chunk].chunk)
			at++;
		if (reply && at < reply->findings_count)
			finding_enter(ns, part, copy, &reply->findings[at]);
		else
			copy->state = COPY_SILENT;
	}
	if (part)
		part_look(ns, part);
}

/* ---- orders ---- */

static bool wants_asking(const struct verify_copy *copy, const struct member *member)
{
	return copy->number == member->row.number && !copy->state && !copy->asked;
}

/* Asks for all copies of that member. Where that is no use they end as silent at once: who was in
 * one part is so in the rest of the file. */
static void inspect_send(struct nameserver *ns, struct verify *part, struct member *member)
{
	const struct order_how how = {
		.subject = part->number,
		.timeout_ms = INSPECT_MS,
		.silence_ms = silence_ms(ns),
		.done = inspect_done,
	};
	struct chunk_sum *sums = arena_alloc(&ns->arena, CHUNKS_MAX * sizeof(*sums));
	struct inspect_request order = { .chunks = sums };
	bool sent;

	for (unsigned int i = 0; sums && i < part->copy_count; i++) {
		const struct chunk_row *row = &part->chunks[part->copies[i].chunk];

		if (wants_asking(&part->copies[i], member))
			sums[order.chunks_count++] =
				(struct chunk_sum){ row->chunk, row->length, row->digest };
	}
	sent = order.chunks_count && !is_silent(ns, member) &&
	       ns->now_ms >= member->stuck_until_ms &&
	       member_order(ns, member, MSG_inspect, &order, &how) == 0;
	for (unsigned int i = 0; i < part->copy_count; i++) {
		if (!wants_asking(&part->copies[i], member))
			continue;
		part->copies[i].asked = sent;
		part->copies[i].state = sent ? 0 : COPY_SILENT;
	}
}

static void part_ask(struct nameserver *ns, struct verify *part)
{
	part->again_ms = UINT64_MAX;
	for (unsigned int i = 0; i < part->copy_count; i++) {
		struct verify_copy *copy = &part->copies[i];
		struct member *member = member_by_number(ns, copy->number);

		if (copy->state || copy->asked)
			continue;
		if (member && ns->now_ms - part->begun_ms < INSPECT_MS)
			inspect_send(ns, part, member);
		else
			copy->state = COPY_SILENT;
	}
	part_look(ns, part);
}

/* ---- parts ---- */

static bool copy_add(struct verify *part, const struct member *member, uint8_t state)
{
	if (part->copy_count == VERIFY_PAGE_MAX)
		return false;
	part->copies[part->copy_count++] = (struct verify_copy){
		.number = member ? member->row.number : 0,
		.node = member ? member->row.node : (struct id){ { 0 } },
		.chunk = (uint8_t)part->chunk_count,
		.state = state,
	};
	return true;
}

/* The copies of a chunk: those on the books; those that were given up because they are bad; and for
 * each that is wanted, and that a server could have, a missing one of nobody. */
static int chunk_add(struct nameserver *ns, struct verify *part, const struct chunk_row *row)
{
	struct chunk_health health;
	unsigned int known = 0, before = part->copy_count, most;
	bool fits = true;
	int rc = health_get(ns, row->chunk, &health);

	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];
		bool holds = holders_have(&health.holders, member->row.number);

		if (!holds && !copy_is_bad(member, row->chunk))
			continue;
		fits = fits && copy_add(part, member, holds ? 0 : COPY_MISMATCH);
		known++;
	}
	most = health.copies.up + health.targets;
	most = most < health.wanted ? most : health.wanted;
	for (; known < most; known++)
		fits = fits && copy_add(part, NULL, COPY_MISSING);
	if (!fits) {
		part->copy_count = before;
		return -ERR_TOO_LARGE;
	}
	part->chunks[part->chunk_count++] = *row;
	return 0;
}

static int part_fill(struct nameserver *ns, struct verify *part, const struct inode *inode)
{
	struct chunk_row row = { .end = part->key.offset };
	uint64_t bytes = 0;

	takers_count(ns);
	while (row.end < inode->size && part->chunk_count < CHUNKS_MAX) {
		int rc = catalogue_chunk_at(ns->kv, inode->id, row.end, &row);

		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
		bytes += row.length;
		if (part->chunk_count && bytes > PART_BYTES)
			break;
		rc = chunk_add(ns, part, &row);
		if (rc == -ERR_TOO_LARGE && part->chunk_count)
			break;
		if (rc < 0)
			return rc;
		part->next = row.end;
	}
	return 0;
}

static int part_begin(struct nameserver *ns, const struct part_key *key, const struct inode *inode,
		      struct verify **ret)
{
	struct verify *part;
	int rc;

	if (HASH_COUNT(ns->verifies) >= PARTS_MAX)
		return -ERR_BUSY;
	part = calloc(1, sizeof(*part));
	if (!part)
		return -ERR_NO_MEMORY;
	part->key = *key;
	part->number = ++ns->verify_count;
	part->next = inode->size;
	part->begun_ms = ns->now_ms;
	rc = part_fill(ns, part, inode);
	if (rc < 0) {
		free(part);
		return rc;
	}
	HASH_ADD(hh, ns->verifies, key, sizeof(part->key), part);
	part_ask(ns, part);
	*ret = part;
	return 0;
}

static int reply_fill(struct nameserver *ns, const struct verify *part, struct verify_reply *reply)
{
	struct copy_finding *findings =
		arena_alloc(&ns->arena, (part->copy_count + 1) * sizeof(*findings));

	if (!findings)
		return -ERR_NO_MEMORY;
	for (unsigned int i = 0; i < part->copy_count; i++) {
		const struct verify_copy *copy = &part->copies[i];
		const struct chunk_row *row = &part->chunks[copy->chunk];

		findings[i] = (struct copy_finding){
			.offset = row->end - row->length,
			.node = copy->node,
			.state = copy->state,
			.digest = copy->digest,
		};
	}
	reply->next = part->next;
	reply->copies = findings;
	reply->copies_count = (uint16_t)part->copy_count;
	return 0;
}

static int verify_check(struct nameserver *ns, const struct verify_request *request,
			struct inode *inode, struct entry *entry)
{
	int rc = entry_find(ns->kv, request->path, inode, entry);

	if (rc < 0)
		return rc;
	if (inode->type != ENTRY_FILE)
		return -ERR_IS_DIR;
	if (request->inode && request->inode != inode->id)
		return -ERR_STALE;
	if (request->offset > inode->size)
		return -ERR_RANGE;
	return entry_describe(ns, inode, (struct chunk_range){ request->offset, CHUNKS_MAX },
			      entry);
}

int on_verify(struct nameserver *ns, struct session *from, const struct verify_request *request,
	      struct verify_reply *reply)
{
	struct part_key key;
	struct verify *part;
	struct inode inode;
	int rc = verify_check(ns, request, &inode, &reply->entry);

	if (rc < 0)
		return rc;
	memset(&key, 0, sizeof(key));
	key.asker = from->self;
	key.inode = inode.id;
	key.offset = request->offset;
	reply->next = inode.size;
	if (request->offset == inode.size)
		return 0;
	HASH_FIND(hh, ns->verifies, &key, sizeof(key), part);
	if (!part)
		rc = part_begin(ns, &key, &inode, &part);
	if (rc < 0)
		return rc;
	if (!part->ended)
		return park(ns, PARK_VERIFY, IN_PROGRESS_AFTER_MS);
	rc = reply_fill(ns, part, reply);
	part_free(ns, part);
	return rc;
}

/* ---- time ---- */

void verify_tick(struct nameserver *ns)
{
	struct verify *part, *next;

	HASH_ITER(hh, ns->verifies, part, next) {
		if (part->ended && ns->now_ms - part->ended_ms >= PART_KEPT_MS)
			part_free(ns, part);
		else if (!part->ended && part->again_ms <= ns->now_ms)
			part_ask(ns, part);
	}
}

uint64_t verify_deadline(const struct nameserver *ns)
{
	struct verify *part, *next;
	uint64_t at = UINT64_MAX;

	HASH_ITER(hh, ns->verifies, part, next) {
		uint64_t due_ms = part->ended ? part->ended_ms + PART_KEPT_MS : part->again_ms;

		at = due_ms < at ? due_ms : at;
	}
	return at;
}
