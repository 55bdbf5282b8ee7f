/* What storage servers hold from before a rebuild and no file explains becomes files in
 * /lost+found, one for each chunk. A server is asked twice about each (INSPECT): first what it
 * reads there, then whether it reads that again; so a copy that contradicts itself becomes no
 * file. Nor does what was put in a run of which the catalogue has all batches: it was removed, or
 * its put never ended. */
#include <stdio.h>

#include "hold.h"
#include "orders.h"
#include "repair.h"

enum {
	STRAYS_MAX = 1024 * 1024, /* of a server; the rest comes with its next inventory */
	WAIT_MS = 60 * 1000,      /* for servers to say that they have copies, too */
	LOOK_MS = 30 * 1000,
	LOOK_SILENCE_MS = 6000,
	LOOK_AGAIN_MS = 1000,
	DIRECTORIES_MAX = 100, /* names that are tried */
	NAME_MAX_ = 32,
};

enum stray_state { STRAY_NEW, STRAY_READ, STRAY_SETTLED };

struct stray {
	uint64_t chunk;
	uint32_t length;
	uint8_t state;
	struct digest digest; /* from STRAY_READ on */
};

/* Of a server, ascending. */
struct stray_list {
	uint16_t number;
	struct stray *strays;
	size_t count, capacity;
	size_t first; /* all before it are settled */
	bool asking;
	uint64_t again_ms;
	UT_hash_handle hh;
};

struct lost_found {
	struct stray_list *lists;
	uint64_t shown, told;
	char directory[NAME_MAX_];
};

static struct stray_list *list_find(const struct nameserver *ns, uint16_t number)
{
	struct stray_list *list = NULL;

	if (ns->lost_found)
		HASH_FIND(hh, ns->lost_found->lists, &number, sizeof(number), list);
	return list;
}

/* Where the chunk is, or would be. */
static size_t stray_position(const struct stray_list *list, uint64_t chunk)
{
	size_t low = 0, high = list->count;

	/* Mostly at the end. */
	if (high == 0 || list->strays[high - 1].chunk < chunk)
		return high;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (list->strays[middle].chunk < chunk)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct stray *stray_find(const struct stray_list *list, uint64_t chunk)
{
	size_t at = stray_position(list, chunk);

	return at < list->count && list->strays[at].chunk == chunk ? &list->strays[at] : NULL;
}

/* ---- what inventories name ---- */

static struct stray_list *list_get(struct nameserver *ns, uint16_t number)
{
	struct stray_list *list = list_find(ns, number);

	if (list)
		return list;
	if (!ns->lost_found)
		ns->lost_found = calloc(1, sizeof(*ns->lost_found));
	list = calloc(1, sizeof(*list));
	if (!list || !ns->lost_found) {
		free(list);
		return NULL;
	}
	list->number = number;
	HASH_ADD(hh, ns->lost_found->lists, number, sizeof(list->number), list);
	return list;
}

static bool list_room(struct stray_list *list)
{
	size_t capacity = list->capacity ? list->capacity * 2 : 64;
	struct stray *strays;

	if (list->count < list->capacity)
		return true;
	strays =
		list->count < STRAYS_MAX ? realloc(list->strays, capacity * sizeof(*strays)) : NULL;
	if (!strays)
		return false;
	list->strays = strays;
	list->capacity = capacity;
	return true;
}

static void stray_add(struct stray_list *list, const struct chunk_ref *ref)
{
	size_t at = stray_position(list, ref->chunk);

	if (!list_room(list))
		return;
	memmove(list->strays + at + 1, list->strays + at,
		(list->count - at) * sizeof(struct stray));
	list->strays[at] = (struct stray){ .chunk = ref->chunk, .length = ref->length };
	list->count++;
	list->first = at < list->first ? at : list->first;
}

/* What finds no room stays where it is all the same. */
bool lost_found_takes(struct nameserver *ns, const struct member *member,
		      const struct chunk_ref *ref)
{
	uint64_t start = ref->chunk >> ID_BITS_OF_COUNT;
	struct stray_list *list;

	if (!is_rebuilt(ns) || start < ns->hold.from || start >= ns->hold.before || !ref->length)
		return false;
	list = list_get(ns, member->row.number);
	if (list && !stray_find(list, ref->chunk))
		stray_add(list, ref);
	return true;
}

static void list_free(struct nameserver *ns, struct stray_list *list)
{
	HASH_DEL(ns->lost_found->lists, list);
	free(list->strays);
	free(list);
}

void lost_found_free(struct nameserver *ns)
{
	struct stray_list *list, *next;

	if (!ns->lost_found)
		return;
	HASH_ITER(hh, ns->lost_found->lists, list, next)
		list_free(ns, list);
	free(ns->lost_found);
	ns->lost_found = NULL;
}

/* ---- files ---- */

/* The directory: made if need be, beside a file of that name. */
static int directory_get(struct nameserver *ns)
{
	char *path = ns->lost_found->directory;
	struct inode inode;
	int rc = -ERR_EXISTS;

	for (unsigned int i = 0; rc == -ERR_EXISTS && i < DIRECTORIES_MAX; i++) {
		struct new_entry entry = { .now_ms = ns->wall_ms };

		snprintf(path, NAME_MAX_, i ? "/lost+found-%u" : "/lost+found", i);
		rc = catalogue_find(ns->kv, slice_of(path), &inode);
		if (rc == 0)
			rc = inode.type == ENTRY_DIRECTORY ? 0 : -ERR_EXISTS;
		if (rc != -ERR_NOT_FOUND)
			continue;
		entry.inode = fresh_id(ns, &ns->next_inode);
		rc = catalogue_mkdir(ns->kv, slice_of(path), &entry, NULL, NULL);
	}
	return rc;
}

static unsigned int servers_of(const struct nameserver *ns, uint64_t chunk)
{
	struct stray_list *list, *next;
	unsigned int count = 0;

	HASH_ITER(hh, ns->lost_found->lists, list, next)
		count += stray_find(list, chunk) != NULL;
	return count < COPIES_MAX ? count : COPIES_MAX;
}

/* A name that somebody has given to something else is left to him. */
static int file_make(struct nameserver *ns, const struct stray *stray)
{
	const struct chunk_row row = {
		.chunk = stray->chunk,
		.length = stray->length,
		.digest = stray->digest,
	};
	struct new_file file = {
		.entry = { .now_ms = ns->wall_ms, .copies = (uint8_t)servers_of(ns, stray->chunk) },
		.size = stray->length,
		.digest = stray->digest,
		.chunk_size = ns->config.chunk_size,
		.chunks = &row,
		.chunk_count = 1,
	};
	char path[2 * NAME_MAX_];
	struct standing standing;
	struct inode inode;
	int rc = directory_get(ns);

	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/%016llx", ns->lost_found->directory,
		 (unsigned long long)stray->chunk);
	rc = catalogue_check_file(ns->kv, slice_of(path), false, &(uint8_t){ 0 });
	if (rc < 0)
		return rc;
	file.entry.inode = fresh_id(ns, &ns->next_inode);
	rc = catalogue_put_file(ns->kv, slice_of(path), &file, uptime_ms(ns), &inode);
	if (rc == 0)
		rc = standing_get(ns, stray->chunk, &standing);
	if (rc < 0)
		return rc;
	standing_change(ns, stray->chunk, (struct standing){ 0 }, standing);
	ns->lost_found->shown++;
	return 0;
}

static int stray_show(struct nameserver *ns, struct member *member, const struct stray *stray)
{
	struct chunk_row row;
	int rc = chunk_find(ns->kv, stray->chunk, &row);

	if (rc == -ERR_NOT_FOUND)
		rc = file_make(ns, stray);
	else if (rc == 0 && !digest_equal(&row.digest, &stray->digest))
		rc = -ERR_EXISTS;
	if (rc == -ERR_EXISTS || rc == -ERR_IS_DIR || rc == -ERR_NOT_DIR)
		return 0;
	return rc < 0 ? rc : place_found(ns, member, stray->chunk);
}

/* ---- asking ---- */

/* True: it is not to be asked about at once again. */
static bool finding_enter(struct nameserver *ns, struct member *member, struct stray *stray,
			  const struct chunk_finding *finding)
{
	bool read = stray->state == STRAY_READ;

	if (finding->status == ERR_BUSY)
		return true;
	if (!read && finding->status == ERR_CORRUPT) {
		stray->digest = finding->digest;
		stray->state = STRAY_READ;
		return false;
	}
	stray->state = STRAY_SETTLED;
	if (read && finding->status == 0 && stray_show(ns, member, stray) < 0)
		ns->failed = true;
	return false;
}

static void asked(struct nameserver *ns, const struct order_result *result)
{
	struct stray_list *list = list_find(ns, result->member->row.number);
	const struct inspect_reply *reply = result->reply;
	bool busy = result->error < 0;

	if (!list || !list->asking)
		return;
	list->asking = false;
	for (unsigned int i = 0; reply && i < reply->findings_count; i++) {
		struct stray *stray = stray_find(list, reply->findings[i].chunk);

		if (stray && stray->state != STRAY_SETTLED)
			busy |= finding_enter(ns, result->member, stray, &reply->findings[i]);
	}
	list->again_ms = ns->now_ms + (busy ? LOOK_AGAIN_MS : STEP_MS);
}

/* Of one that is known by now, since another server has it too, the content is known. */
static int stray_look(struct nameserver *ns, struct stray *stray)
{
	struct chunk_row row;
	int rc;

	if (stray->state != STRAY_NEW)
		return 0;
	rc = chunk_find(ns->kv, stray->chunk, &row);
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	stray->digest = row.digest;
	stray->state = row.length == stray->length ? STRAY_READ : STRAY_SETTLED;
	return 0;
}

static void list_ask(struct nameserver *ns, struct stray_list *list, struct member *member)
{
	const struct order_how how = {
		.timeout_ms = LOOK_MS,
		.silence_ms = LOOK_SILENCE_MS,
		.done = asked,
	};
	struct chunk_sum *sums = arena_alloc(&ns->arena, INSPECT_MAX * sizeof(*sums));
	struct inspect_request order = { .chunks = sums };

	while (list->first < list->count && list->strays[list->first].state == STRAY_SETTLED)
		list->first++;
	for (size_t i = list->first; sums && i < list->count; i++) {
		struct stray *stray = &list->strays[i];

		if (order.chunks_count == INSPECT_MAX)
			break;
		if (stray_look(ns, stray) < 0)
			ns->failed = true;
		if (stray->state != STRAY_SETTLED)
			sums[order.chunks_count++] =
				(struct chunk_sum){ stray->chunk, stray->length, stray->digest };
	}
	if (order.chunks_count)
		list->asking = member_order(ns, member, MSG_inspect, &order, &how) == 0;
	list->again_ms = ns->now_ms + LOOK_AGAIN_MS;
}

/* ---- time ---- */

static bool is_telling(const struct member *member)
{
	return member->stage == INVENTORY_COMING || member->stage == INVENTORY_COUNTING;
}

static struct member *member_to_ask(const struct nameserver *ns, const struct stray_list *list)
{
	struct member *member = member_by_number(ns, list->number);

	return member && member->session && !list->asking && list->first < list->count &&
			       !is_telling(member)
		       ? member
		       : NULL;
}

static bool all_have_told(const struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (!ns->sorted[i]->row.retired && is_telling(ns->sorted[i]))
			return false;
	}
	return members_all_heard(ns);
}

/* Not before the others have told whether they have copies, if they do soon: so many are wanted. */
static uint64_t begin_ms(const struct nameserver *ns)
{
	return all_have_told(ns) ? 0 : ns->started_ms + WAIT_MS;
}

static bool is_all_settled(const struct nameserver *ns)
{
	struct stray_list *list, *next;

	HASH_ITER(hh, ns->lost_found->lists, list, next) {
		const struct member *member = member_by_number(ns, list->number);

		if (list->first < list->count && member && member->session)
			return false;
	}
	return true;
}

void lost_found_tick(struct nameserver *ns)
{
	struct lost_found *found = ns->lost_found;
	struct stray_list *list, *next;

	if (ns->now_ms < lost_found_deadline(ns))
		return;
	HASH_ITER(hh, found->lists, list, next) {
		struct member *member = member_to_ask(ns, list);

		if (member && list->again_ms <= ns->now_ms)
			list_ask(ns, list, member);
	}
	if (found->shown == found->told || !is_all_settled(ns))
		return;
	found->told = found->shown;
	ns_event(ns, LOG_WARN, "lost_found", "chunks=%llu path=%s",
		 (unsigned long long)found->shown, quoted(ns, slice_of(found->directory)));
}

uint64_t lost_found_deadline(const struct nameserver *ns)
{
	struct stray_list *list, *next;
	uint64_t at = UINT64_MAX, from_ms = begin_ms(ns);

	if (!ns->lost_found || must_spare(ns))
		return UINT64_MAX;
	HASH_ITER(hh, ns->lost_found->lists, list, next) {
		if (member_to_ask(ns, list) && list->again_ms < at)
			at = list->again_ms;
	}
	return at < from_ms ? from_ms : at;
}
