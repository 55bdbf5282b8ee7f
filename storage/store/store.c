/* Opening, closing, who we are, what there is. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"
#include "superblock.h"

enum { LOOKS = 64 /* free space is looked at again when this part of it has been reserved */ };

/* ---- opening ---- */

struct opening {
	struct store *store;
	const struct store_options *options;
	char *message;
};

static int __attribute__((format(printf, 3, 4)))
refuse(struct opening *opening, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(opening->message, 256, format, args);
	va_end(args);
	return rc;
}

static int lock(struct opening *opening)
{
	struct store *store = opening->store;
	int rc = disk_lock(store->disk, "lock");

	if (rc == -ERR_LOCKED)
		return refuse(opening, rc,
			      "the data directory is in use by another process: stop that one, or "
			      "give each server a directory of its own");
	if (rc < 0)
		return refuse(opening, rc, "cannot lock the data directory: %s", error_text(rc));
	store->lock = rc;
	return 0;
}

/* What may be in a directory that counts as empty: what mkfs puts there, and what an earlier start
 * that was cut short left. */
static int stranger_find(void *context, const char *name, bool directory)
{
	(void)directory;
	(void)context;
	return strcmp(name, "lock") != 0 && strcmp(name, "lost+found") != 0 &&
	       strcmp(name, "superblock.new") != 0;
}

static int create(struct opening *opening)
{
	struct store *store = opening->store;
	int rc = disk_list(store->disk, "", stranger_find, NULL);

	if (rc > 0)
		return refuse(
			opening, -ERR_BAD_FORMAT,
			"the data directory is not empty and has no superblock: is the disk "
			"not mounted, or the path wrong? An empty directory makes a new server");
	store->identity = (struct store_identity){ .node = opening->options->node,
						   .disk = opening->options->disk };
	if (rc == 0)
		rc = superblock_create(store->disk, &store->identity, &store->superblock_sequence);
	if (rc < 0)
		return refuse(opening, rc, "cannot create the superblock: %s", error_text(rc));
	return 0;
}

static int identify(struct opening *opening)
{
	struct store *store = opening->store;
	int rc = superblock_read(store->disk, &store->identity, &store->superblock_sequence);

	if (rc == -ERR_NOT_FOUND)
		return create(opening);
	if (rc == -ERR_WRONG_VERSION)
		return refuse(opening, -ERR_BAD_FORMAT,
			      "the data directory was written by a later version: use that one");
	if (rc == -ERR_BAD_FORMAT)
		return refuse(
			opening, rc,
			"both copies of the superblock are damaged: restore the file, or start "
			"with an empty directory and let the cluster repair");
	if (rc < 0)
		return refuse(opening, rc, "cannot read the superblock: %s", error_text(rc));
	return 0;
}

static uint64_t clamp(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

static int measure(struct opening *opening)
{
	const struct store_options *options = opening->options;
	struct store *store = opening->store;
	struct disk_space space;
	uint64_t two_percent;
	int rc = disk_space(store->disk, &space);

	if (rc < 0)
		return refuse(opening, rc, "cannot ask for free space: %s", error_text(rc));
	store->capacity = options->capacity ? options->capacity : space.capacity;
	two_percent = store->capacity / 50;
	store->reserve = two_percent > 1u << 30 ? two_percent : 1u << 30;
	if (store->reserve > store->capacity / 10)
		store->reserve = store->capacity / 10;
	store->segment_size = options->segment_size;
	if (!store->segment_size)
		store->segment_size =
			clamp(store->capacity / SEGMENT_PARTS, SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX);
	store->segment_size = align_up(store->segment_size, STORE_BLOCK);
	store->large_from = options->large_from;
	if (!store->large_from || store->large_from > SMALL_CHUNK_MAX)
		store->large_from = SMALL_CHUNK_MAX + 1;
	return 0;
}

static int directories_make(struct opening *opening)
{
	struct disk *disk = opening->store->disk;
	/* First the superblock's name: directories without one would be a stranger's. */
	int rc = disk_sync_dir(disk, "");

	if (rc == 0)
		rc = disk_mkdir(disk, "seg");
	if (rc == 0)
		rc = disk_mkdir(disk, "big");
	if (rc == 0)
		rc = disk_sync_dir(disk, "");
	return rc < 0 ? refuse(opening, rc, "cannot make directories: %s", error_text(rc)) : 0;
}

static int recover(struct opening *opening, struct store_report *report)
{
	struct store *store = opening->store;
	int rc = store_recover(store, report);

	if (rc == -ERR_STALE)
		return refuse(
			opening, -ERR_BAD_FORMAT,
			"the superblock is older than the data: the directory was restored from "
			"a backup or mixed with another one. Start with an empty directory and "
			"let the cluster repair");
	if (rc < 0)
		return refuse(opening, rc, "cannot read what is stored: %s", error_text(rc));
	store->identity.generation++;
	rc = superblock_write(store->disk, &store->identity, &store->superblock_sequence);
	if (rc < 0)
		return refuse(opening, rc, "cannot write the superblock: %s", error_text(rc));
	return 0;
}

int store_open(struct disk *disk, const struct store_options *options, struct store **ret,
	       struct store_report *ret_report, char message[256])
{
	struct store *store = calloc(1, sizeof(*store));
	struct opening opening = { .store = store, .options = options, .message = message };
	struct store_report report = { 0 };
	int rc;

	message[0] = '\0';
	if (!store)
		return refuse(&opening, -ERR_NO_MEMORY, "%s", error_text(-ERR_NO_MEMORY));
	store->disk = disk;
	store->lock = -1;
	index_init(&store->index, options->index_seed);
	rc = lock(&opening);
	if (rc == 0)
		rc = identify(&opening);
	if (rc == 0)
		rc = measure(&opening);
	if (rc == 0)
		rc = directories_make(&opening);
	if (rc == 0)
		rc = recover(&opening, &report);
	if (rc < 0) {
		store_abandon(store);
		return rc;
	}
	if (ret_report)
		*ret_report = report;
	*ret = store;
	return 0;
}

/* ---- closing ---- */

/* The active segment gets its footer; one that holds nothing goes. */
static int active_close(struct store *store)
{
	struct segment *segment = store->active;
	struct closing closing;
	int rc;

	if (!segment)
		return 0;
	closing = closing_of(store, segment, store->entries, store->entry_count);
	rc = closing_write(store->disk, &closing);
	if (rc == 0)
		rc = disk_sync_file(store->disk, segment->file);
	segment->sealed = rc == 0;
	return rc;
}

static void checkpoint_now(struct store *store)
{
	uint8_t *data;
	size_t size;

	if (!store->changed || checkpoint_encode(store, &data, &size) < 0)
		return;
	(void)checkpoint_write(store->disk, data, size); /* else the old one serves */
	free(data);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	while (store->writes)
		store_write_abort(store, store->writes);
	if (!store->failed) {
		removals_flush(store);
		if (active_close(store) == 0)
			checkpoint_now(store);
	}
	store_abandon(store);
}

void store_abandon(struct store *store)
{
	if (!store)
		return;
	while (store->writes)
		write_forget(store, store->writes);
	segments_done(store);
	index_done(&store->index);
	free(store->entries);
	free(store->removals.list);
	free(store->move_list);
	free(store->listing.list);
	if (store->lock >= 0)
		disk_close(store->disk, store->lock);
	free(store);
}

/* ---- who we are ---- */

const struct store_identity *store_identity(const struct store *store)
{
	return &store->identity;
}

static int identity_set(struct store *store, const struct store_identity *identity)
{
	const uint64_t before = store->superblock_sequence;
	int rc;

	if (store->failed)
		return -ERR_IO;
	rc = superblock_write(store->disk, identity, &store->superblock_sequence);
	if (rc < 0) {
		/* Once it was touched, which of the two is on the disk is anybody's guess. */
		store->failed = store->superblock_sequence != before;
		return rc;
	}
	store->identity = *identity;
	return 0;
}

int store_adopt(struct store *store, const struct id *cluster, const char *cluster_name)
{
	struct store_identity identity = store->identity;

	if (!id_is_none(&identity.cluster) && !id_equal(&identity.cluster, cluster))
		return -ERR_WRONG_CLUSTER;
	identity.cluster = *cluster;
	snprintf(identity.cluster_name, sizeof(identity.cluster_name), "%s", cluster_name);
	return identity_set(store, &identity);
}

int store_promise(struct store *store, uint64_t epoch, const struct id *server)
{
	struct store_identity identity = store->identity;

	if (epoch < identity.promised_epoch)
		return -ERR_STALE;
	if (epoch == identity.promised_epoch && id_equal(server, &identity.promised_server))
		return 0;
	identity.promised_epoch = epoch;
	identity.promised_server = *server;
	return identity_set(store, &identity);
}

/* ---- what there is ---- */

static uint64_t less(uint64_t from, uint64_t amount)
{
	return from > amount ? from - amount : 0;
}

/* Others may fill the file system too. */
static void space_look(struct store *store)
{
	struct disk_space space;

	store->free_seen = disk_space(store->disk, &space) == 0 ? space.free : UINT64_MAX / 2;
	store->unseen = 0;
}

static void usage_count(const struct store *store, struct store_usage *ret)
{
	uint64_t own = less(store->capacity, store->reserve + store->occupied + store->reserved);
	uint64_t others;
	uint64_t allocated = store->active ? store->active->limit - store->active->end : 0;

	*ret = (struct store_usage){ .capacity = store->capacity,
				     .used = store->index.bytes,
				     .chunks = store->index.good,
				     .failed = store->failed };
	if (store->failed)
		return;
	others = less(store->free_seen + allocated, store->reserve + store->reserved);
	ret->free = others < own ? others : own;
}

void store_usage(struct store *store, struct store_usage *ret)
{
	space_look(store);
	usage_count(store, ret);
}

int space_check(struct store *store, uint32_t length)
{
	uint64_t footprint = chunk_footprint(store, length);
	struct store_usage usage;

	if (store->failed)
		return -ERR_IO;
	if (store->unseen > store->free_seen / LOOKS || footprint > store->free_seen / LOOKS)
		space_look(store);
	usage_count(store, &usage);
	if (footprint > usage.free)
		return -ERR_NO_SPACE;
	store->unseen += footprint;
	return 0;
}

bool store_has(const struct store *store, uint64_t chunk)
{
	struct place place;

	return index_find(&store->index, chunk, &place) && !place.bad;
}

static int file_remove(struct store *store, uint64_t chunk, const struct place *place)
{
	return removals_add(&store->removals, &(struct removal){ .chunk = chunk,
								 .bad = place->bad,
								 .footprint = chunk_footprint(
									 store, place->length) });
}

int store_remove(struct store *store, uint64_t chunk)
{
	struct place place;
	int rc = 0;

	if (!index_find(&store->index, chunk, &place))
		return -ERR_NOT_FOUND;
	if (!place.segment)
		rc = file_remove(store, chunk, &place);
	if (rc == 0)
		index_leave(store, chunk, &place);
	return rc;
}

int store_quarantine(struct store *store, uint64_t chunk)
{
	struct place place;

	if (!index_find(&store->index, chunk, &place) || place.bad)
		return -ERR_NOT_FOUND;
	if (!place.segment) {
		char from[STORE_PATH_MAX], to[STORE_PATH_MAX];

		big_path(chunk, "", from);
		big_path(chunk, ".bad", to);
		(void)disk_rename(store->disk, from, to); /* even if not: it is served no more */
	}
	place.bad = true;
	index_put(&store->index, chunk, &place);
	store->changed = true;
	return 0;
}

/* Where the first chunk above `after` stands. */
static size_t listing_seek(const struct listing *listing, uint64_t after)
{
	size_t from = 0, to = listing->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (listing->list[middle].chunk <= after)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool is_selected(const struct listing *listing, const uint8_t *buckets)
{
	if (!buckets || !listing->selected)
		return !buckets && !listing->selected;
	return memcmp(listing->buckets, buckets, INVENTORY_BITS_SIZE) == 0;
}

static bool listing_serves(const struct store *store, const uint8_t *buckets, uint64_t after,
			   size_t most)
{
	const struct listing *listing = &store->listing;

	if (!is_selected(listing, buckets))
		return false;
	return listing->list && listing->version == store->version && after >= listing->after &&
	       (!listing->more || listing->count - listing_seek(listing, after) >= most);
}

static int listing_fill(struct store *store, const uint8_t *buckets, uint64_t after, size_t most)
{
	struct listing *listing = &store->listing;
	size_t room = most > LIST_AHEAD ? most : LIST_AHEAD;
	int64_t count;

	free(listing->list);
	*listing = (struct listing){ .after = after, .version = store->version };
	listing->selected = buckets != NULL;
	if (buckets)
		memcpy(listing->buckets, buckets, INVENTORY_BITS_SIZE);
	if (room > store->index.good)
		room = store->index.good + 1;
	listing->list = malloc(room * sizeof(*listing->list));
	count = listing->list ? index_list(&store->index, buckets, after, listing->list, room)
			      : -ERR_NO_MEMORY;
	if (count < 0)
		return (int)count;
	listing->count = (size_t)count;
	listing->more = listing->count == room;
	return 0;
}

size_t store_list(struct store *store, uint64_t after, struct store_listed *ret, size_t most)
{
	return store_list_buckets(store, NULL, after, ret, most);
}

size_t store_list_buckets(struct store *store, const uint8_t *buckets, uint64_t after,
			  struct store_listed *ret, size_t most)
{
	struct listing *listing = &store->listing;
	size_t count = 0;

	if (!listing_serves(store, buckets, after, most) &&
	    listing_fill(store, buckets, after, most) < 0)
		return 0;
	/* Those that were removed since then are passed over. */
	for (size_t i = listing_seek(listing, after); i < listing->count && count < most; i++)
		if (store_has(store, listing->list[i].chunk))
			ret[count++] = listing->list[i];
	if (count == most)
		return count;
	if (listing->more) {
		listing->version--;
		return store_list_buckets(store, buckets, after, ret, most);
	}
	free(listing->list);
	*listing = (struct listing){ 0 };
	return count;
}

struct digest store_inventory_digest(const struct store *store)
{
	return store->index.sum.whole;
}

const struct inventory_sum *store_inventory(const struct store *store)
{
	return &store->index.sum;
}

size_t store_index_bytes(const struct store *store)
{
	return index_bytes(&store->index);
}
