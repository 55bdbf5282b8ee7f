/* events. */
#include <string.h>

#include "command.h"
#include "error.h"
#include "text.h"

/* How long one question may wait for news; the name server allows no more. */
enum { WAIT_MS = 2000 };

const char *const level_names[] = {
	[MUSTER_ERROR] = "error", [MUSTER_WARN] = "warn",    [MUSTER_INFO] = "info",
	[MUSTER_DEBUG] = "debug", [MUSTER_DEBUG + 1] = NULL,
};

static const char *level_word(enum muster_level level)
{
	return level <= MUSTER_DEBUG ? level_names[level] : "unknown";
}

static enum tone level_tone(enum muster_level level)
{
	if (level == MUSTER_ERROR)
		return TONE_BAD;
	return level == MUSTER_WARN ? TONE_WARN : TONE_PLAIN;
}

static int level_parse(const struct call *call, enum muster_level *ret)
{
	const char *text = call->options[CALL_LEVEL];

	*ret = MUSTER_INFO;
	if (!text)
		return STATUS_DONE;
	for (unsigned int i = 0; level_names[i]; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum muster_level)i;
			return STATUS_DONE;
		}
	}
	return call_usage(call, "--level wants error, warn, info or debug, not '%s'", text);
}

static int event_json(struct call *call, const struct muster_event *event)
{
	cJSON *object = cJSON_CreateObject();

	json_number(object, "number", event->number);
	json_number(object, "time", event->time_ms);
	json_text(object, "level", level_word(event->level));
	json_text(object, "node", event->node);
	json_text(object, "event", event->event);
	json_text(object, "text", event->text);
	return call_json(call, object);
}

static void event_print(const struct call *call, const struct muster_event *event)
{
	const char *word = level_word(event->level);
	bool colour = call->shell->colour;
	char time[TIME_TEXT_MAX];
	unsigned int columns;

	printf("%s  ", time_format(event->time_ms, time));
	tone_print(stdout, colour ? level_tone(event->level) : TONE_PLAIN, word);
	printf("%*s  ", (int)(5 - strlen(word)), "");
	columns = name_print(stdout, *event->node ? event->node : "-");
	printf("%*s  ", columns < 12 ? (int)(12 - columns) : 0, "");
	name_print(stdout, event->event);
	if (*event->text)
		fputs("  ", stdout);
	words_print(stdout, event->text);
	putchar('\n');
}

/* A muster_event_fn. */
static int event_show(void *context, const struct muster_event *event)
{
	struct call *call = context;
	int status = STATUS_DONE;

	if (call->shell->preferences.json)
		status = event_json(call, event);
	else
		event_print(call, event);
	return status != STATUS_DONE || call_interrupted(call) || call_unheard(call)
		       ? -ERR_CANCELLED
		       : 0;
}

/* Until nothing is left; with -f never. */
static int events_show(struct call *call, struct muster_events_args *args)
{
	bool follow = call->options[CALL_FOLLOW];
	int rc = 1;

	while (rc > 0 || (follow && rc == 0)) {
		uint64_t missed = 0;

		args->wait_ms = follow && rc == 0 ? WAIT_MS : 0;
		rc = muster_events(call->session, args, event_show, call, &args->after, &missed);
		if (missed && rc >= 0)
			call_note(call, "%llu event%s more, not kept any longer",
				  (unsigned long long)missed, plural(missed));
		fflush(stdout);
		if (call_interrupted(call) || call_unheard(call))
			break;
	}
	return rc;
}

int command_events(struct call *call)
{
	struct muster_events_args args = { .node = call->options[CALL_NODE] };
	int status = level_parse(call, &args.level);
	int rc;

	if (status == STATUS_DONE)
		status = call_session(call);
	if (status != STATUS_DONE)
		return status;
	rc = events_show(call, &args);
	if (call_unheard(call))
		return STATUS_FAILED;
	/* Ctrl-C is how following ends. */
	if (rc >= 0 || (call->options[CALL_FOLLOW] && call_interrupted(call)))
		return STATUS_DONE;
	return call_fail_last(call, NULL, rc);
}
