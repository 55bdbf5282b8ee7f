#include "replica.h"

#include <stdlib.h>

#include "answers.h"
#include "error.h"
#include "pages.h"

enum {
	PENDING_MAX = 1024 * 1024,   /* bytes of batches that rows take in together, */
	PAGES_MAX = 8 * 1024 * 1024, /* and of pages: half a copy is worth nothing after a crash */
};

struct replica {
	struct disk *disk;
	struct replica_rows *rows;
	struct journal *journal;
	struct recent recent;
	size_t page_max;
	bool own;              /* see replica_limits */
	struct view_mark mark; /* of the rows */
	struct journal_head head;
	struct buffer pending; /* batches up to `head` that the rows lack */
	struct buffer pages;   /* of a copy that comes in: the same */
	struct buffer answer;
	bool open;
	int dropped;        /* why what was there is gone, or 0 */
	int error;          /* why nothing goes any more, or 0 */
	bool peers_changed; /* and nobody was told */
	struct replica_peer *peers;
	unsigned int peer_count;
};

static const struct slice nothing;

const struct replica_limits replica_limits = { .recent = 16 * 1024 * 1024,
					       .page = CATALOGUE_PART_MAX };
const struct replica_limits replica_limits_own = { .page = CATALOGUE_PART_MAX, .own = true };

int replica_new(struct disk *disk, struct replica_rows *rows, const struct replica_limits *limits,
		struct replica **ret)
{
	struct replica *replica = calloc(1, sizeof(*replica));

	if (!replica)
		return -ERR_NO_MEMORY;
	replica->disk = disk;
	replica->rows = rows;
	replica->recent.max = limits->recent;
	replica->page_max = limits->page;
	replica->own = limits->own;
	replica->error = -ERR_UNAVAILABLE;
	*ret = replica;
	return 0;
}

static void close_all(struct replica *replica)
{
	journal_close(replica->journal);
	replica->journal = NULL;
	if (replica->open)
		replica->rows->ops->close(replica->rows);
	replica->open = false;
	recent_clear(&replica->recent);
	buffer_clear(&replica->pending);
	buffer_done(&replica->pages);
	replica->mark = (struct view_mark){ 0 };
	replica->head = (struct journal_head){ 0 };
}

void replica_free(struct replica *replica)
{
	if (!replica)
		return;
	close_all(replica);
	recent_done(&replica->recent);
	buffer_done(&replica->pending);
	buffer_done(&replica->pages);
	buffer_done(&replica->answer);
	free(replica->peers);
	free(replica);
}

static bool is_whole(const struct replica *replica)
{
	return !replica->mark.building && replica->head.sequence >= replica->mark.whole.sequence;
}

/* ---- peers ---- */

static bool is_about_members(struct slice batches)
{
	struct batch_head head;
	struct slice changes;
	struct change change;
	struct digest hash;
	size_t size;

	while (batches.size > 0 && batch_read(batches, &head, &changes, &size, &hash) == 1) {
		while (change_next(&changes, &change) > 0) {
			if (change.key.data[0] == 'm')
				return true;
		}
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return false;
}

static int peers_room(struct replica *replica)
{
	if (replica->peers)
		return 0;
	replica->peers = calloc(NODES_MAX, sizeof(*replica->peers));
	return replica->peers ? 0 : -ERR_NO_MEMORY;
}

static int peers_read(struct replica *replica)
{
	struct kv *kv = replica->rows->ops->kv(replica->rows);
	struct member_row row;
	int rc = peers_room(replica);

	replica->peer_count = 0;
	if (rc == 0)
		rc = member_next(kv, NULL, &row);
	while (rc == 0 && replica->peer_count < NODES_MAX) {
		struct replica_peer *peer = &replica->peers[replica->peer_count];
		struct id last = row.node;

		peer->node = row.node;
		peer->endpoint_count = (uint16_t)row.endpoint_count;
		memcpy(peer->endpoints, row.endpoints, row.endpoint_count * sizeof(*row.endpoints));
		replica->peer_count += !row.retired && row.endpoint_count > 0;
		rc = member_next(kv, &last, &row);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* ---- batches ---- */

int replica_settle(struct replica *replica)
{
	struct slice batches = { replica->pending.data, replica->pending.size };
	int rc = replica->error;

	if (rc < 0 || batches.size == 0)
		return rc;
	rc = replica->rows->ops->apply(replica->rows, batches);
	if (rc < 0)
		return replica->error = rc;
	replica->mark.head = replica->head;
	replica->peers_changed |= is_about_members(batches);
	buffer_clear(&replica->pending);
	/* They are kept for others as well, but the journal's last file is enough for that. */
	if (replica->journal)
		replica->error = journal_trim(replica->journal, replica->head.sequence);
	return replica->error;
}

bool replica_is_settled(const struct replica *replica)
{
	return replica->pending.size == 0;
}

static bool follows(const struct journal_head *head, const struct batch_head *batch)
{
	return batch->sequence == head->sequence + 1 && batch->epoch >= head->epoch &&
	       digest_equal(&batch->previous, &head->hash);
}

/* What the pages were said to lead to. */
static bool is_promised(const struct replica *replica, const struct journal_head *head)
{
	return head->sequence != replica->mark.whole.sequence ||
	       digest_equal(&head->hash, &replica->mark.whole.hash);
}

/* From the head before these batches to the one after them; -ERR_STALE: they do not follow. */
static int chain_check(const struct replica *replica, struct slice batches,
		       struct journal_head *ret, bool *ret_promised)
{
	*ret_promised = true;
	while (batches.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		if (batch_read(batches, &head, &changes, &size, &hash) != 1)
			return -ERR_CORRUPT;
		if (!follows(ret, &head) || head.local.size > 0)
			return -ERR_STALE;
		*ret = (struct journal_head){ head.epoch, head.sequence, hash };
		*ret_promised = *ret_promised && is_promised(replica, ret);
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return 0;
}

static int recent_add_all(struct replica *replica, struct slice batches)
{
	int rc = 0;

	while (rc == 0 && batches.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		if (batch_read(batches, &head, &changes, &size, &hash) != 1)
			return -ERR_CORRUPT;
		rc = recent_add(&replica->recent, (struct slice){ batches.data, size });
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return rc;
}

static int journal_begin(struct replica *replica)
{
	int rc = 0;

	if (!replica->disk)
		return 0;
	journal_close(replica->journal);
	replica->journal = NULL;
	rc = journal_drop(replica->disk);
	return rc < 0 ? rc : journal_open(replica->disk, 0, NULL, NULL, &replica->journal);
}

/* Nothing is left. First the rows go, which say so: then whatever the journal still has, is not
 * believed. */
static int begin(struct replica *replica, bool building)
{
	const struct view_mark mark = { .building = building, .had = replica->mark.had };
	int rc = replica->rows->ops->clear(replica->rows, &mark);

	replica->mark = mark;
	replica->head = mark.head;
	replica->peers_changed = true;
	recent_clear(&replica->recent);
	buffer_clear(&replica->pending);
	buffer_done(&replica->pages);
	return rc < 0 ? rc : journal_begin(replica);
}

/* The pages led elsewhere than they said: what there is, is no catalogue. */
static int broken(struct replica *replica)
{
	int rc = begin(replica, false);

	return rc < 0 ? (replica->error = rc) : -ERR_STALE;
}

static int pages_load(struct replica *replica);

/* More pages are to come, and these go on from what there is. */
static bool is_between_pages(const struct replica *replica, struct slice batches)
{
	struct batch_head first;
	size_t size;

	return replica->mark.building && replica->mark.whole.sequence > 0 &&
	       batch_peek(batches, &first, &size) == 1 && follows(&replica->mark.head, &first);
}

/* What has changed while pages came: by the time of the last one nobody may be able to tell. */
static int catch_up(struct replica *replica, struct slice batches)
{
	struct journal_head head = replica->mark.head;
	bool promised;
	int rc = chain_check(replica, batches, &head, &promised);

	if (rc == 0 && !promised)
		return broken(replica);
	if (rc < 0)
		return rc;
	rc = pages_load(replica);
	if (rc == 0)
		rc = replica->rows->ops->apply(replica->rows, batches);
	if (rc < 0)
		return replica->error = rc;
	replica->mark.head = head;
	return 0;
}

static int append(struct replica *replica, const struct replica_job *job)
{
	struct journal_head head;
	bool promised;
	int rc = 0;

	if (job->bytes.size == 0)
		return 0;
	if (is_between_pages(replica, job->bytes))
		return catch_up(replica, job->bytes);
	if (replica->mark.building)
		rc = begin(replica, false);
	if (rc < 0)
		return replica->error = rc;
	head = replica->head;
	rc = chain_check(replica, job->bytes, &head, &promised);
	if (rc == 0 && !promised)
		return broken(replica);
	if (rc < 0)
		return rc;
	if (replica->journal)
		rc = journal_append(replica->journal, job->bytes);
	if (rc == 0)
		rc = recent_add_all(replica, job->bytes);
	if (rc == 0)
		rc = buffer_append(&replica->pending, job->bytes.data, job->bytes.size);
	if (rc < 0)
		return replica->error = rc;
	replica->head = head;
	return replica->pending.size >= PENDING_MAX ? replica_settle(replica) : 0;
}

/* ---- pages ---- */

static int pages_load(struct replica *replica)
{
	const struct slice rows = { replica->pages.data, replica->pages.size };
	int rc = replica->rows->ops->load(replica->rows, rows, &replica->mark);

	if (replica->mark.building)
		buffer_clear(&replica->pages);
	else
		buffer_done(&replica->pages);
	return rc;
}

/* Nor may rows be older than the batches that were applied to those before. */
static bool may_follow(const struct journal_head *head, const struct journal_head *point)
{
	return point->sequence > head->sequence ||
	       (point->sequence == head->sequence && digest_equal(&point->hash, &head->hash));
}

static int load(struct replica *replica, const struct replica_job *job)
{
	struct view_mark mark = replica->mark;
	struct slice last;
	int rc;

	if (!mark.building || page_check(job->bytes, nothing, &last) < 0)
		return -ERR_BAD_REQUEST;
	/* Pages that go back are of two histories, or of a server that began anew itself. */
	if (job->point.sequence < mark.whole.sequence || job->point.epoch < mark.whole.epoch ||
	    !may_follow(&mark.head, &job->point))
		return -ERR_STALE;
	if (mark.whole.sequence == 0)
		mark.head = job->point;
	mark.whole = job->point;
	mark.building = job->more;
	rc = buffer_append(&replica->pages, job->bytes.data, job->bytes.size);
	if (rc < 0)
		return replica->error = rc;
	replica->mark = mark;
	if (!mark.building || replica->pages.size >= PAGES_MAX)
		rc = pages_load(replica);
	if (rc < 0)
		return replica->error = rc;
	if (!mark.building) {
		replica->head = mark.head;
		replica->peers_changed = true;
	}
	return 0;
}

static int page(struct replica *replica, const struct replica_job *job, struct replica_result *ret)
{
	int rc = replica_settle(replica);

	if (rc < 0)
		return rc;
	if (!is_whole(replica) || replica->head.sequence == 0)
		return -ERR_UNAVAILABLE;
	rc = page_read(replica->rows->ops->kv(replica->rows), job->bytes, replica->page_max,
		       &replica->answer);
	ret->more = rc == 1;
	ret->point = replica->mark.head;
	return rc < 0 ? rc : 0;
}

static int pull(struct replica *replica, const struct replica_job *job, struct replica_result *ret)
{
	struct history_point from = { job->point.sequence, job->point.hash, job->offset };
	int rc;

	ret->state = PULL_LEVEL;
	if (!is_whole(replica) || from.sequence > replica->head.sequence)
		return 0;
	if (from.sequence == replica->head.sequence) {
		if (!digest_equal(&from.hash, &replica->head.hash))
			ret->state = PULL_UNKNOWN;
		return 0;
	}
	rc = recent_read(&replica->recent, &from, &replica->answer, &ret->size);
	ret->state = rc > 0 ? PULL_BATCHES : PULL_UNKNOWN;
	return rc == -ERR_STALE || rc == -ERR_NOT_FOUND || rc >= 0 ? 0 : rc;
}

static int ask(struct replica *replica, const struct replica_job *job)
{
	int rc = replica_settle(replica);

	if (rc < 0)
		return rc;
	if (!is_whole(replica) || replica->head.sequence == 0)
		return -ERR_UNAVAILABLE;
	return catalogue_answer(replica->rows->ops->kv(replica->rows), job->bytes, job->local,
				&replica->answer);
}

/* ---- opening ---- */

static bool may_be_here(const struct replica *replica, const struct batch_head *batch)
{
	return follows(&replica->head, batch) && (replica->own || batch->local.size == 0);
}

static int replay(void *context, const struct batch_head *head, struct slice changes)
{
	struct replica *replica = context;
	struct buffer batch = { 0 };
	struct digest hash;
	int rc = batch_encode(head, changes, &batch, &hash);
	struct slice bytes = { batch.data, batch.size };

	if (rc == 0)
		rc = recent_add(&replica->recent, bytes);
	if (rc == 0 && head->sequence == replica->head.sequence &&
	    !digest_equal(&hash, &replica->head.hash))
		rc = -ERR_CORRUPT;
	if (rc == 0 && head->sequence > replica->head.sequence) {
		rc = may_be_here(replica, head) ? 0 : -ERR_CORRUPT;
		replica->head = (struct journal_head){ head->epoch, head->sequence, hash };
		if (rc == 0)
			rc = buffer_append(&replica->pending, bytes.data, bytes.size);
	}
	buffer_done(&batch);
	if (rc == 0 && replica->pending.size >= PENDING_MAX)
		rc = replica_settle(replica);
	return rc;
}

static bool is_damage(int rc)
{
	return rc == -ERR_CORRUPT || rc == -ERR_BAD_FORMAT || rc == -ERR_STALE;
}

static int journal_read_all(struct replica *replica)
{
	int rc;

	if (!replica->disk)
		return 0;
	rc = journal_open(replica->disk, JOURNAL_WHOLE, replay, replica, &replica->journal);
	/* Rows that know more than a journal which is not new: it was exchanged. */
	if (rc == 0 && journal_head(replica->journal).sequence != 0 &&
	    journal_head(replica->journal).sequence < replica->head.sequence)
		rc = -ERR_CORRUPT;
	return rc;
}

static int rows_open(struct replica *replica)
{
	const struct replica_rows_ops *ops = replica->rows->ops;
	int rc = ops->open(replica->rows, &replica->mark);

	if (is_damage(rc)) {
		replica->dropped = rc;
		rc = ops->drop(replica->rows);
		if (rc == 0)
			rc = ops->open(replica->rows, &replica->mark);
		if (rc == 0)
			replica->mark.building = true; /* what the journal has is not believed */
	}
	replica->open = rc == 0;
	return rc;
}

static int open_all(struct replica *replica)
{
	int rc;

	close_all(replica);
	replica->error = replica->dropped = 0;
	rc = rows_open(replica);
	if (rc == 0 && replica->mark.building)
		rc = begin(replica, false);
	if (rc == 0 && !replica->journal) {
		replica->head = replica->mark.head;
		rc = journal_read_all(replica);
		if (is_damage(rc)) {
			replica->dropped = rc;
			/* It may have had anything. */
			replica->mark.had = (struct journal_head){ 0 };
			rc = begin(replica, false);
		}
	}
	if (rc == 0)
		rc = replica_settle(replica);
	replica->peers_changed = true;
	return replica->error = rc;
}

/* ---- looking ---- */

static int cluster_read(struct kv *kv, struct replica_facts *ret)
{
	struct slice value;
	int rc = setting_get(kv, SETTING_CLUSTER, &value);

	if (rc < 0 || value.size != ID_SIZE)
		return rc < 0 ? rc : -ERR_BAD_FORMAT;
	memcpy(ret->cluster.bytes, value.data, ID_SIZE);
	rc = setting_get(kv, SETTING_CLUSTER_NAME, &value);
	if (rc < 0 || value.size > CLUSTER_NAME_MAX)
		return rc < 0 ? rc : -ERR_BAD_FORMAT;
	memcpy(ret->cluster_name, value.data, value.size);
	return 0;
}

static int members_count(struct kv *kv, unsigned int *ret)
{
	struct member_row row;
	int rc = member_next(kv, NULL, &row);

	while (rc == 0) {
		struct id last = row.node;

		*ret += !row.retired;
		rc = member_next(kv, &last, &row);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int names_read(struct kv *kv, const struct journal_members *members,
		      struct replica_facts *ret)
{
	for (unsigned int i = 0; i < members->count; i++) {
		struct replica_name *name = &ret->names[ret->name_count];
		struct member_row row;
		int rc = member_get(kv, &members->nodes[i], &row);

		if (rc == -ERR_NOT_FOUND)
			continue;
		if (rc < 0)
			return rc;
		name->node = row.node;
		memcpy(name->name, row.name, sizeof(name->name));
		ret->name_count++;
	}
	return 0;
}

int replica_facts_read(struct kv *kv, struct replica_facts *ret)
{
	int rc;

	*ret = (struct replica_facts){ 0 };
	rc = cluster_read(kv, ret);
	if (rc == 0)
		rc = journal_set_get(kv, &ret->set);
	if (rc == 0)
		rc = names_read(kv, &ret->set.now, ret);
	if (rc == 0)
		rc = names_read(kv, &ret->set.before, ret);
	return rc < 0 ? rc : members_count(kv, &ret->members);
}

static int look(struct replica *replica, struct replica_facts *ret)
{
	int rc = replica_settle(replica);

	if (rc < 0 || !is_whole(replica) || replica->head.sequence == 0)
		return rc;
	return replica_facts_read(replica->rows->ops->kv(replica->rows), ret);
}

/* ---- jobs ---- */

static int run(struct replica *replica, const struct replica_job *job, struct replica_result *ret)
{
	int rc;

	if (job->kind == REPLICA_OPEN)
		return open_all(replica);
	if (replica->error)
		return replica->error;
	switch (job->kind) {
	case REPLICA_APPEND: return append(replica, job);
	case REPLICA_LOAD: return load(replica, job);
	case REPLICA_PULL: return pull(replica, job, ret);
	case REPLICA_PAGE: return page(replica, job, ret);
	case REPLICA_LOOK: return look(replica, &ret->facts);
	case REPLICA_ASK: return ask(replica, job);
	case REPLICA_OPEN:
	case REPLICA_BEGIN: break;
	}
	if (is_whole(replica) && journal_is_later(&replica->head, &replica->mark.had))
		replica->mark.had = replica->head;
	rc = begin(replica, true);
	if (rc < 0)
		replica->error = rc;
	return rc;
}

static struct replica_head head_of(const struct replica *replica)
{
	struct replica_head head = { .last = replica->head, .whole = is_whole(replica) };

	if (!head.whole || journal_is_later(&replica->mark.had, &head.last))
		head.had = replica->mark.had;
	return head;
}

void replica_run(struct replica *replica, const struct replica_job *job, struct replica_result *ret)
{
	*ret = (struct replica_result){ .kind = job->kind, .number = job->number };
	buffer_clear(&replica->answer);
	ret->error = run(replica, job, ret);
	ret->dropped = job->kind == REPLICA_OPEN ? replica->dropped : 0;
	ret->bytes = (struct slice){ replica->answer.data, replica->answer.size };
	ret->head = head_of(replica);
	if (!replica->peers_changed || replica->error)
		return;
	replica->peers_changed = false;
	if (peers_read(replica) == 0) {
		ret->peers = replica->peers;
		ret->peer_count = replica->peer_count;
	}
}
