/* A walk over all chunks, in small steps, whenever the places or the members have changed. It
 * counts the chunks that have too few copies up, and takes those places away from members whose
 * complete inventory did not name the chunk. What changes while it runs makes it run once more.
 *
 * Chunks of removed files count until the collector has freed them. */
#include "ns_state.h"

enum { SWEEP_STEP = 1024, SWEEP_PAUSE_MS = 500 };

void sweep_request(struct nameserver *ns)
{
	ns->sweep.again = true;
}

static void sweep_begin(struct nameserver *ns)
{
	struct sweep *sweep = &ns->sweep;

	*sweep = (struct sweep){ .running = true };
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member->stage != INVENTORY_WAITING)
			continue;
		member->stage = INVENTORY_SWEPT;
		memset(&member->digest, 0, sizeof(member->digest));
	}
}

static void sweep_end(struct nameserver *ns)
{
	ns->under_copied = ns->sweep.under;
	ns->lost = ns->sweep.lost;
	ns->sweep.running = false;
	ns->sweep.next_ms = ns->now_ms + SWEEP_PAUSE_MS;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (member->stage != INVENTORY_SWEPT)
			continue;
		member->stage = INVENTORY_NONE;
		member->digest_known = true;
		chunk_set_done(&member->listed);
		chunk_set_done(&member->fresh);
		ns->sweep.again = true;
	}
}

/* The first chunk of a file after `after`: rows "k" of catalogue.h. */
static int chunk_after(struct nameserver *ns, uint64_t after, uint64_t *ret)
{
	uint8_t start[1 + 8] = "k";
	struct slice key, value;
	int rc;

	put_be64(start + 1, after + 1);
	rc = kv_seek(ns->kv, (struct slice){ start, sizeof(start) }, &key, &value);
	if (rc < 0)
		return rc;
	if (key.size != sizeof(start) || key.data[0] != 'k')
		return -ERR_NOT_FOUND;
	*ret = get_be64(key.data + 1);
	return 0;
}

/* How many copies the chunk shall have; chunks of one file follow each other. */
static int copies_wanted(struct nameserver *ns, uint64_t chunk, uint8_t *ret)
{
	struct sweep *sweep = &ns->sweep;
	struct inode inode;
	uint32_t index;
	uint64_t owner;
	int rc = chunk_owner(ns->kv, chunk, &owner, &index);

	if (rc == 0 && owner != sweep->last_inode) {
		rc = inode_get(ns->kv, owner, &inode);
		sweep->last_inode = owner;
		sweep->last_copies = inode.copies;
	}
	*ret = sweep->last_copies;
	return rc;
}

static int sweep_chunk(struct nameserver *ns, uint64_t chunk)
{
	struct holders holders;
	unsigned int up;
	uint8_t wanted = 0;
	int rc = holders_get(ns->kv, chunk, &holders);

	if (rc == 0)
		rc = copies_wanted(ns, chunk, &wanted);
	if (rc == 0)
		rc = place_sweep(ns, chunk, &holders);
	if (rc == 0)
		rc = holders_get(ns->kv, chunk, &holders);
	if (rc < 0)
		return rc;
	up = holders_up(ns, &holders);
	ns->sweep.under += up < wanted;
	ns->sweep.lost += up == 0;
	return 0;
}

static int sweep_step(struct nameserver *ns)
{
	for (int i = 0; i < SWEEP_STEP; i++) {
		uint64_t chunk = 0;
		int rc = chunk_after(ns, ns->sweep.cursor, &chunk);

		if (rc == -ERR_NOT_FOUND) {
			sweep_end(ns);
			return 0;
		}
		ns->sweep.cursor = chunk;
		if (rc == 0)
			rc = sweep_chunk(ns, chunk);
		if (rc < 0)
			return rc;
	}
	ns->sweep.next_ms = ns->now_ms + STEP_MS;
	return 0;
}

void sweep_tick(struct nameserver *ns)
{
	if (ns->now_ms < sweep_deadline(ns))
		return;
	if (!ns->sweep.running)
		sweep_begin(ns);
	if (sweep_step(ns) < 0)
		ns->failed = true;
}

uint64_t sweep_deadline(const struct nameserver *ns)
{
	return ns->sweep.running || ns->sweep.again ? ns->sweep.next_ms : UINT64_MAX;
}
