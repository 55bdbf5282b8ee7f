/* The command status: the state of the whole store, or what can be said of it without a name
 * server. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "error.h"
#include "fold.h"
#include "store_output.h"
#include "text.h"

static const char *const state_names[] = {
	[MUSTER_SERVES] = "serving",
	[MUSTER_READ_ONLY] = "read-only",
	[MUSTER_TAKES_OVER] = "taking over",
};

static const struct {
	const char *name;
	const char *text;
} holds[] = {
	[MUSTER_HOLD_BRAKE] = { "brake", "much more than usual would go" },
	[MUSTER_HOLD_STALE] = { "stale", "servers know a newer catalogue than the name server" },
	[MUSTER_HOLD_REBUILT] = { "rebuilt", "the catalogue was rebuilt" },
};

static const char *state_name(const struct muster_status *status)
{
	const char *name =
		(size_t)status->state < ARRAY_SIZE(state_names) ? state_names[status->state] : NULL;

	return name ? name : "unknown";
}

static bool is_held(const struct muster_status *status)
{
	return status->hold != MUSTER_HOLD_NONE && (size_t)status->hold < ARRAY_SIZE(holds);
}

/* How it serves, and what it does by itself. */
static void service_json(cJSON *object, const struct muster_status *status)
{
	json_text(object, "state", state_name(status));
	json_number(object, "journal_set", status->journal_set);
	json_number(object, "journal_needed", status->journal_needed);
	json_number(object, "journal_up", status->journal_up);
	json_text(object, "waiting", status->waiting);
	json_number(object, "repair_rate", status->repair_rate);
	json_number(object, "repair_left", status->repair_left_ms);
	if (is_held(status))
		json_text(object, "hold", holds[status->hold].name);
	else
		json_null(object, "hold");
	json_number(object, "hold_left", status->hold_left_ms);
}

static int status_json(struct call *call, const struct muster_status *status)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "cluster", status->cluster);
	json_text(object, "nameserver", status->nameserver);
	json_text(object, "version", status->version);
	json_number(object, "epoch", status->epoch);
	json_number(object, "sequence", status->sequence);
	json_number(object, "nodes_online", status->nodes_online);
	json_number(object, "nodes_total", status->nodes_total);
	json_number(object, "files", status->files);
	json_number(object, "directories", status->directories);
	json_number(object, "bytes", status->bytes);
	json_number(object, "chunks", status->chunks);
	json_number(object, "under_copied", status->under_copied);
	json_number(object, "lost", status->lost);
	json_number(object, "repairing", status->repairing);
	json_number(object, "capacity", status->capacity);
	json_number(object, "used", status->used);
	json_number(object, "free", status->free);
	json_number(object, "catalogue_copies", status->catalogue_copies);
	cJSON_AddBoolToObject(object, "writable", status->writable);
	json_number(object, "uptime", status->uptime_ms);
	json_number(object, "corrupt", status->corrupt);
	json_number(object, "trash_entries", status->trash_entries);
	json_number(object, "trash_bytes", status->trash_bytes);
	json_number(object, "freeing", status->freeing);
	service_json(object, status);
	return call_json(call, object);
}

static void count_add(char *text, size_t room, uint64_t count, const char *what)
{
	size_t used = strlen(text);

	if (count)
		snprintf(text + used, room - used, "%s%" PRIu64 " chunk%s %s", used ? ", " : "",
			 count, plural(count), what);
}

static void health_print(const struct shell *shell, const struct muster_status *status)
{
	enum tone tone = status->lost || status->corrupt ? TONE_BAD : TONE_WARN;
	char text[256] = "";

	count_add(text, sizeof(text), status->under_copied, "under-copied");
	count_add(text, sizeof(text), status->lost, "lost");
	count_add(text, sizeof(text), status->corrupt, "corrupt");
	count_add(text, sizeof(text), status->repairing, "being repaired");
	if (!*text) {
		tone = TONE_GOOD;
		snprintf(text, sizeof(text), "every chunk has its copies");
	}
	fputs("copies       ", stdout);
	tone_print(stdout, shell->colour ? tone : TONE_PLAIN, text);
	putchar('\n');
}

/* Room for the longest sentence; server names are short. */
enum { SENTENCE_MAX = 1024 };

static struct fold row_begin(const struct shell *shell, const char *label)
{
	printf("%-13s", label);
	return (struct fold){ .out = stdout, .indent = 13, .width = shell->width };
}

__attribute__((format(printf, 2, 3))) static void row_add(struct fold *row, const char *format, ...)
{
	char text[SENTENCE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fold_text(row, text);
}

/* Nobody can do anything before they are there. */
static void waiting_print(struct fold *row, const struct muster_status *status)
{
	struct buffer names = { 0 };

	if (!*status->waiting) {
		row_add(row, ": it asks the storage servers what they know");
		return;
	}
	name_escape(&names, status->waiting, strlen(status->waiting));
	row_add(row,
		": it waits for %.*s; %u of the %u needed %s there. If they never come back, see "
		"--accept-rebuild",
		(int)names.size, (const char *)names.data, status->journal_up,
		status->journal_needed, status->journal_up == 1 ? "is" : "are");
	buffer_done(&names);
}

static void state_print(const struct shell *shell, const struct muster_status *status)
{
	enum tone tone = status->state == MUSTER_SERVES ? TONE_GOOD : TONE_BAD;
	struct fold row = row_begin(shell, "state");

	tone_begin(stdout, shell->colour ? tone : TONE_PLAIN);
	fold_text(&row, state_name(status));
	tone_end(stdout, shell->colour ? tone : TONE_PLAIN);
	if (status->state == MUSTER_TAKES_OVER)
		waiting_print(&row, status);
	else if (status->journal_set)
		row_add(&row,
			": changes need %u of %u server%s that keep%s the catalogue with it, "
			"%u %s up",
			status->journal_needed, status->journal_set, plural(status->journal_set),
			status->journal_set == 1 ? "s" : "", status->journal_up,
			status->journal_up == 1 ? "is" : "are");
	fold_end(&row);
}

/* What goes on, or does not, by itself. */
static void work_print(const struct shell *shell, const struct muster_status *status)
{
	char text[LEFT_MAX], size[SIZE_TEXT_MAX];
	struct fold row;

	if (status->repair_rate && (status->repairing || status->repair_left_ms))
		printf("repair       %s/s%s%s\n", size_format(status->repair_rate, size),
		       status->repair_left_ms ? ", done in about " : "",
		       status->repair_left_ms ? left_format(status->repair_left_ms, text) : "");
	if (!is_held(status))
		return;
	row = row_begin(shell, "deleting");
	row_add(&row, "held back: %s", holds[status->hold].text);
	if (status->hold_left_ms)
		row_add(&row, "; for %s more", left_format(status->hold_left_ms, text));
	fold_end(&row);
}

static void status_text(const struct shell *shell, const struct muster_status *status)
{
	char bytes[SIZE_TEXT_MAX];
	char used[SIZE_TEXT_MAX];
	char free_text[SIZE_TEXT_MAX];

	fputs("cluster      ", stdout);
	name_print(stdout, status->cluster);
	printf("\nname server  %s, version ", status->nameserver);
	name_print(stdout, status->version);
	printf(", epoch %llu%s\n", (unsigned long long)status->epoch,
	       status->writable ? "" : ", read-only now");
	state_print(shell, status);
	/* What there is, it does not know yet. */
	if (status->state == MUSTER_TAKES_OVER)
		return;
	printf("servers      %u of %u online\n", status->nodes_online, status->nodes_total);
	printf("stored       %llu file%s in %llu director%s, %s\n",
	       (unsigned long long)status->files, plural(status->files),
	       (unsigned long long)status->directories, status->directories == 1 ? "y" : "ies",
	       bytes_format(status->bytes, bytes));
	health_print(shell, status);
	work_print(shell, status);
	printf("catalogue    %u cop%s up to date\n", status->catalogue_copies,
	       status->catalogue_copies == 1 ? "y" : "ies");
	printf("space        %s used, %s free\n", bytes_format(status->used, used),
	       bytes_format(status->free, free_text));
	trash_print(status);
}

/* ---- without a name server ---- */

static int degraded_json(struct call *call, const struct muster_info *info)
{
	cJSON *object = cJSON_CreateObject();
	char text[ID_TEXT_MAX];
	struct id storage;

	memcpy(storage.bytes, info->storage_id, sizeof(storage.bytes));
	json_text(object, "cluster", info->cluster);
	json_null(object, "nameserver");
	cJSON_AddBoolToObject(object, "degraded", true);
	json_text(object, "storage", info->storage);
	json_text(object, "storage_id", id_format(&storage, text));
	json_number(object, "epoch", info->epoch);
	cJSON_AddBoolToObject(object, "writable", false);
	json_text(object, "state", "no name server");
	return call_json(call, object);
}

static void degraded_text(const struct shell *shell, const struct muster_info *info)
{
	char text[ID_TEXT_MAX];
	struct fold row;
	struct id storage;

	memcpy(storage.bytes, info->storage_id, sizeof(storage.bytes));
	fputs("cluster      ", stdout);
	name_print(stdout, info->cluster);
	fputs("\nname server  ", stdout);
	tone_print(stdout, shell->colour ? TONE_BAD : TONE_PLAIN, "none is up");
	putchar('\n');
	row = row_begin(shell, "reading");
	row_add(&row, "through storage server %.8s at %s, as it knew the files in epoch %" PRIu64,
		id_format(&storage, text), info->storage, info->epoch);
	fold_end(&row);
	row = row_begin(shell, "state");
	row_add(&row, "degraded: files can be read, not changed; start the name server");
	fold_end(&row);
}

/* Little is known, but that is what is to be known: 3, as ever when there is no name server. */
static int status_degraded(struct call *call, const struct muster_info *info)
{
	if (call->shell->preferences.json)
		degraded_json(call, info);
	else
		degraded_text(call->shell, info);
	return STATUS_NO_NAMESERVER;
}

int command_status(struct call *call)
{
	struct muster_status status;
	struct muster_info info;
	int rc = call_session(call);

	if (rc != STATUS_DONE)
		return rc;
	rc = muster_status(call->session, &status);
	muster_info(call->session, &info);
	if (rc == -ERR_READ_ONLY && info.degraded)
		return status_degraded(call, &info);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	if (call->shell->preferences.json)
		return status_json(call, &status);
	status_text(call->shell, &status);
	return STATUS_DONE;
}
