#include "database.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bounds.h"
#include "error.h"
#include "space.h"

struct opening {
	const char *path;
	struct database *database;
	char *message;
	uint64_t applied; /* the last batch in the view */
	uint64_t replayed;
};

/* What the view may have in memory that LMDB has no room for. */
enum { BEHIND_MAX = 256 * 1024 * 1024 };

__attribute__((format(printf, 3, 4))) static int complain(struct opening *opening, int rc,
							  const char *format, ...)
{
	size_t used =
		(size_t)snprintf(opening->message, DATABASE_MESSAGE_MAX, "%s: ", opening->path);
	va_list args;

	if (used < DATABASE_MESSAGE_MAX) {
		va_start(args, format);
		vsnprintf(opening->message + used, DATABASE_MESSAGE_MAX - used, format, args);
		va_end(args);
	}
	return rc;
}

/* ---- whose directory is it? */

static bool is_ours(const char *name)
{
	static const char *const names[] = { "lock",
					     "journal",
					     "view",
					     "identity",
					     "identity.new",
					     "lost+found",
					     "view.damaged-",
					     "journal.damaged-",
					     "view.unused-",
					     "journal.unused-",
					     NULL };

	for (const char *const *known = names; *known; known++) {
		size_t length = strlen(*known);

		if (strncmp(name, *known, length) == 0 &&
		    (name[length] == '\0' || (*known)[length - 1] == '-'))
			return true;
	}
	return false;
}

static int entry_seen(void *context, const char *name, bool directory)
{
	bool *foreign = context;

	if (directory && strcmp(name, "journal") == 0)
		return -ERR_END;
	*foreign = *foreign || !is_ours(name);
	return 0;
}

static int directory_open(struct opening *opening)
{
	struct database *database = opening->database;
	bool foreign = false;
	int rc = disk_posix_new(opening->path, &database->disk);

	if (rc < 0)
		return complain(opening, rc, "%s; say with --data where the catalogue may live",
				error_text(rc));
	rc = disk_list(database->disk, "", entry_seen, &foreign);
	if (rc < 0 && rc != -ERR_END)
		return complain(opening, rc, "cannot be read: %s", error_text(rc));
	if (rc == 0 && foreign)
		return complain(opening, -ERR_BAD_FORMAT,
				"not empty, and no name server's directory; choose another --data");
	database->lock = disk_lock(database->disk, "lock");
	if (database->lock == -ERR_LOCKED)
		return complain(
			opening, database->lock,
			"another name server uses it; stop that one or choose another --data");
	if (database->lock < 0)
		return complain(opening, database->lock,
				"cannot be written: %s; mend that or choose another --data",
				error_text(database->lock));
	return 0;
}

/* ---- the view and the journal */

/* LMDB syncs its files, not their names; once the journal is trimmed, nothing can replace them. */
static int view_open_at(struct opening *opening)
{
	struct database *database = opening->database;
	char path[PATH_SIZE_MAX];
	int rc;

	if ((size_t)snprintf(path, sizeof(path), "%s/view", opening->path) >= sizeof(path))
		return -ERR_NAME_TOO_LONG;
	rc = view_open(path, &database->view, &opening->applied);
	return rc < 0 ? rc : disk_sync_dir(database->disk, "view");
}

/* A journal and a view from different times may both be sound, and have the same numbers. */
static bool is_of_one_history(struct opening *opening, const struct digest *hash)
{
	struct digest known = view_hash(opening->database->view);

	return opening->applied == 0 || digest_equal(&known, hash);
}

static int batch_replay(void *context, const struct batch_head *head, struct slice changes)
{
	struct opening *opening = context;

	if (opening->replayed++ == 0 && !is_of_one_history(opening, &head->previous))
		return -ERR_WRONG_CLUSTER;
	return view_replay(opening->database->view, head, changes);
}

static int batch_keep(void *context, const struct batch_head *head, struct slice changes)
{
	struct database *database = ((struct opening *)context)->database;
	struct digest hash;
	int rc = batch_encode(head, changes, &database->behind, &hash);

	if (rc == 0 && database->behind.size > BEHIND_MAX)
		rc = -ERR_LOCAL_FULL;
	return rc < 0 ? rc : view_keep(database->view, head, changes);
}

static int batch_ignore(void *context, const struct batch_head *head, struct slice changes)
{
	(void)context;
	(void)head;
	(void)changes;
	return 0;
}

static bool is_for_want_of_room(const struct opening *opening, int rc)
{
	return rc == -ERR_LOCAL_FULL ||
	       (rc == -ERR_IO && space_is_full(opening->database->disk, true));
}

/* Into the view, and from the batch on for which it has no room, over it. */
static int journal_replay(struct opening *opening)
{
	struct database *database = opening->database;
	int rc = journal_open(database->disk, opening->applied, batch_replay, opening,
			      &database->journal);
	int end =
		rc == 0 || is_for_want_of_room(opening, rc) ? view_replay_end(database->view) : rc;

	if (rc == 0 && end == 0) {
		database->applied = database_head(database).sequence;
		return 0;
	}
	if (!is_for_want_of_room(opening, end < 0 ? end : rc))
		return end < 0 ? end : rc;
	journal_close(database->journal);
	database->journal = NULL;
	rc = view_replay_end(database->view);
	database->applied = view_applied(database->view);
	return rc < 0 ? rc
		      : journal_open(database->disk, database->applied, batch_keep, opening,
				     &database->journal);
}

/* A damaged view is thrown away only once it is sure that the journal can replace it. */
static int view_drop(struct opening *opening)
{
	struct database *database = opening->database;
	struct journal *journal;
	int rc = journal_open(database->disk, 0, batch_ignore, NULL, &journal);

	if (rc < 0)
		return rc;
	rc = journal_head(journal).sequence == 0 ? -ERR_STALE : 0;
	journal_close(journal);
	if (rc == 0)
		rc = disk_unlink(database->disk, "view/data.mdb");
	if (rc == 0 || rc == -ERR_NOT_FOUND)
		rc = disk_unlink(database->disk, "view/lock.mdb");
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int view_rebuild(struct opening *opening)
{
	int rc;

	view_close(opening->database->view);
	opening->database->view = NULL;
	rc = view_drop(opening);
	if (rc == 0)
		rc = view_open_at(opening);
	if (rc == 0)
		rc = journal_replay(opening);
	opening->database->rebuilt = rc == 0;
	return rc;
}

/* The view can be made again after these, the journal cannot. */
static bool is_damage(int rc)
{
	return rc == -ERR_CORRUPT || rc == -ERR_BAD_FORMAT || rc == -ERR_IO;
}

static int history_complain(struct opening *opening)
{
	return complain(
		opening, -ERR_STALE,
		"journal/ and view/ are of different times (a mixed-up copy?); restore both "
		"from the same time");
}

static int journal_complain(struct opening *opening, int rc)
{
	if (rc == -ERR_WRONG_CLUSTER)
		return history_complain(opening);
	if (rc == -ERR_LOCAL_FULL)
		return complain(opening, rc,
				"the disk is full, and view/ needs more room to start");
	if (rc == -ERR_CORRUPT)
		return complain(
			opening, rc,
			"journal/ is damaged before its end; restore the directory from a copy, or "
			"start with --accept-rebuild to have what the storage servers know");
	if (rc == -ERR_STALE)
		return complain(
			opening, rc,
			"view/ is missing or damaged and journal/ no longer goes back to the "
			"first change; restore the directory from a copy, or start with "
			"--accept-rebuild to have what the storage servers know");
	if (rc == -ERR_BAD_FORMAT)
		return complain(opening, rc,
				"journal/ or view/ is in the format of another version of Muster; "
				"start that version, or restore the directory from a copy");
	return complain(opening, rc, "%s while reading the catalogue", error_text(rc));
}

/* Replayed batches beyond `applied` are in the view by now; fewer than that were in the journal. */
static int history_check(struct opening *opening)
{
	struct journal_head head = database_head(opening->database);

	if (head.sequence < opening->applied)
		return complain(opening, -ERR_STALE,
				"journal/ is missing or older than view/ (a mixed-up copy?); "
				"restore both from the same time");
	if (head.sequence == opening->applied && !is_of_one_history(opening, &head.hash))
		return history_complain(opening);
	return 0;
}

/* From pages on, rows that have seen no batch yet need no journal. */
static bool is_all_from_pages(const struct view_mark *mark)
{
	return !mark->building && mark->head.sequence > 0 &&
	       mark->head.sequence == mark->whole.sequence;
}

struct journal_head database_head(const struct database *database)
{
	const struct journal_head none = { 0 };
	struct view_mark mark;

	if (database->unfinished || !database->journal)
		return none;
	mark = view_mark(database->view);
	if (journal_head(database->journal).sequence == 0 && is_all_from_pages(&mark))
		return mark.head;
	return journal_head(database->journal);
}

/* Pages are not all here, or batches that belong to them are not. */
static bool is_unfinished(const struct database *database)
{
	struct view_mark mark = view_mark(database->view);

	return mark.building || (database->journal && mark.head.sequence < mark.whole.sequence &&
				 journal_head(database->journal).sequence < mark.whole.sequence);
}

static int catalogue_open(struct opening *opening)
{
	struct database *database = opening->database;
	int rc = view_open_at(opening);

	/* What the journal has beside half of the pages is not to be believed. */
	if (rc == 0 && is_unfinished(database)) {
		database->unfinished = true;
		return 0;
	}
	if (is_damage(rc)) {
		int seen = rc;

		rc = view_rebuild(opening);
		/* The view may be sound; nobody shall be told to put it aside. */
		if (rc == -ERR_STALE && seen == -ERR_IO)
			rc = seen;
	} else if (rc == 0) {
		bool fresh = opening->applied == 0;

		rc = journal_replay(opening);
		database->rebuilt =
			fresh && rc == 0 && journal_head(database->journal).sequence > 0;
	} else {
		return complain(opening, rc, "view/ cannot be opened: %s", error_text(rc));
	}
	if (rc < 0)
		return journal_complain(opening, rc);
	database->unfinished = is_unfinished(database);
	return database->unfinished ? 0 : history_check(opening);
}

int database_open(const char *path, struct database *ret, char message[DATABASE_MESSAGE_MAX])
{
	struct opening opening = { .path = path, .database = ret, .message = message };
	int rc;

	*ret = (struct database){ .lock = -1 };
	rc = directory_open(&opening);
	if (rc == 0)
		rc = catalogue_open(&opening);
	if (rc < 0)
		database_close(ret);
	return rc;
}

void database_release(struct database *database)
{
	journal_close(database->journal);
	view_close(database->view);
	buffer_done(&database->behind);
	*database = (struct database){ .disk = database->disk, .lock = database->lock };
}

int database_reopen(const char *path, struct database *database, char message[DATABASE_MESSAGE_MAX])
{
	struct opening opening = { .path = path, .database = database, .message = message };
	int rc = catalogue_open(&opening);

	if (rc < 0)
		database_release(database);
	return rc;
}

/* ---- putting aside ---- */

enum { ASIDE_MAX = 1000, ASIDE_NAME_MAX = 32 };

static int aside_find(void *context, const char *name, bool directory)
{
	(void)directory;
	return strcmp(name, context) == 0 ? 1 : 0;
}

/* The first number that neither name has yet. */
static int aside_number(struct disk *disk, const char *word)
{
	for (int number = 1; number <= ASIDE_MAX; number++) {
		char journal[ASIDE_NAME_MAX], view[ASIDE_NAME_MAX];

		snprintf(journal, sizeof(journal), "journal.%s-%d", word, number);
		snprintf(view, sizeof(view), "view.%s-%d", word, number);
		if (disk_list(disk, "", aside_find, journal) == 0 &&
		    disk_list(disk, "", aside_find, view) == 0)
			return number;
	}
	return -ERR_EXISTS;
}

static int aside_rename(struct disk *disk, const char *name, const char *word, int number)
{
	char to[ASIDE_NAME_MAX];
	int rc;

	snprintf(to, sizeof(to), "%s.%s-%d", name, word, number);
	rc = disk_rename(disk, name, to);
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* The view first: a journal by itself is a catalogue, a view is none. Returns the number. */
static int aside(struct opening *opening, const char *word)
{
	struct disk *disk = opening->database->disk;
	int number = aside_number(disk, word);
	int rc = number;

	if (rc > 0)
		rc = aside_rename(disk, "view", word, number);
	if (rc == 0)
		rc = aside_rename(disk, "journal", word, number);
	if (rc == 0)
		rc = disk_sync_dir(disk, "");
	if (rc < 0)
		return complain(opening, rc, "journal/ cannot be put aside: %s", error_text(rc));
	return number;
}

int database_put_away(const char *path, struct database *database,
		      char message[DATABASE_MESSAGE_MAX])
{
	struct opening opening = { .path = path, .database = database, .message = message };
	int rc = aside(&opening, "unused");

	return rc < 0 ? rc : 0;
}

int database_set_aside(const char *path, char message[DATABASE_MESSAGE_MAX])
{
	struct database database = { .lock = -1 };
	struct opening opening = { .path = path, .database = &database, .message = message };
	int rc = directory_open(&opening);

	if (rc == 0)
		rc = aside(&opening, "damaged");
	if (rc > 0)
		rc = complain(&opening, 0, "the damaged catalogue is now journal.damaged-%d", rc);
	database_close(&database);
	return rc;
}

void database_close(struct database *database)
{
	journal_close(database->journal);
	view_close(database->view);
	buffer_done(&database->behind);
	if (database->lock >= 0)
		disk_close(database->disk, database->lock);
	disk_free(database->disk);
	*database = (struct database){ .lock = -1 };
}
