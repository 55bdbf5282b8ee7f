#include <string.h>

#include "prompt.h"
#include "text.h"

enum {
	ASK_MS = 200,
	DIRECTORY_MAX = 48, /* columns, however wide the terminal is */
	DIRECTORY_MIN = 4,
	NAMED_FROM = 30, /* columns of a terminal from which on "muster:" is worth its room */
	WORDS_FROM = 40, /* and from which on the mark is a word */
	TYPING = 10,     /* columns that always stay for what is typed */
};

/* The gravest thing first. */
static void health_judge(const struct muster_status *status, struct health *ret)
{
	ret->tone = TONE_BAD;
	if (status->lost)
		snprintf(ret->text, sizeof(ret->text), "%llu lost",
			 (unsigned long long)status->lost);
	else if (status->nodes_total == 0)
		snprintf(ret->text, sizeof(ret->text), "no servers");
	else if (status->nodes_online < status->nodes_total && status->state == MUSTER_SERVES)
		snprintf(ret->text, sizeof(ret->text), "%u/%u servers", status->nodes_online,
			 status->nodes_total);
	else if (status->state == MUSTER_TAKES_OVER)
		snprintf(ret->text, sizeof(ret->text), "taking over");
	else if (!status->writable || status->state == MUSTER_READ_ONLY)
		snprintf(ret->text, sizeof(ret->text), "read-only");
	else if (status->under_copied)
		snprintf(ret->text, sizeof(ret->text), "%llu under-copied",
			 (unsigned long long)status->under_copied);
	else if (status->corrupt)
		snprintf(ret->text, sizeof(ret->text), "%llu corrupt",
			 (unsigned long long)status->corrupt);
	else
		ret->tone = TONE_GOOD;
	if (ret->tone == TONE_BAD && !status->lost && status->nodes_online)
		ret->tone = TONE_WARN;
}

struct health health_find(struct shell *shell)
{
	struct health health = { .text = "no name server", .tone = TONE_BAD };
	struct muster_status status;
	struct muster_info info = { 0 };
	int rc;

	if (shell->session) {
		muster_process(shell->session);
		muster_info(shell->session, &info);
	}
	if (!info.connected)
		return health;
	if (info.degraded)
		return (struct health){ "degraded", TONE_WARN };
	shell_hurry(ASK_MS);
	rc = muster_status(shell->session, &status);
	shell_relax(shell);
	if (rc == 0) {
		health.text[0] = '\0';
		health_judge(&status, &health);
	} else {
		snprintf(health.text, sizeof(health.text), "no answer");
	}
	return health;
}

/* Bytes of the escaped directory to leave out in front, so that the rest takes at most `room`
 * columns; cut before a '/' where there is one. */
static size_t directory_cut(const char *text, unsigned int room)
{
	const char *at = text;

	while (*at && text_columns(at, strlen(at)) > room) {
		size_t size = text_printable(at, strlen(at));

		at += size ? size : 1;
	}
	if (at > text && *at != '/' && strchr(at, '/'))
		at = strchr(at, '/');
	return (size_t)(at - text);
}

static void directory_format(const char *directory, unsigned int room, char ret[PROMPT_MAX / 2])
{
	struct buffer escaped = { 0 };
	size_t cut;

	ret[0] = '\0';
	if (name_escape(&escaped, directory, strlen(directory)) == 0 &&
	    buffer_append(&escaped, "", 1) == 0) {
		const char *text = (const char *)escaped.data;
		bool fits = text_columns(text, strlen(text)) <= room;

		cut = fits ? 0 : directory_cut(text, room > 3 ? room - 3 : 0);
		snprintf(ret, PROMPT_MAX / 2, "%s%s", fits ? "" : "...", text + cut);
	}
	buffer_done(&escaped);
}

/* libedit wants a visible character after what takes no room. */
static void coloured(char ret[PROMPT_MAX], const char *code, const char *text, bool colour)
{
	size_t used = strlen(ret);

	if (colour)
		snprintf(ret + used, PROMPT_MAX - used, "%c\033[0;%sm%c%s", PROMPT_HIDDEN, code,
			 PROMPT_HIDDEN, text);
	else
		snprintf(ret + used, PROMPT_MAX - used, "%s", text);
}

void prompt_format(const char *directory, const struct health *health, unsigned int width,
		   bool colour, char ret[PROMPT_MAX])
{
	bool named = !width || width >= NAMED_FROM;
	bool words = !width || width >= WORDS_FROM;
	char mark[sizeof(health->text) + 4] = "";
	char shown[PROMPT_MAX / 2];
	unsigned int room = DIRECTORY_MAX;
	unsigned int rest;

	if (*health->text)
		snprintf(mark, sizeof(mark), " [%s]", words ? health->text : "!");
	rest = (unsigned int)strlen(mark) + (named ? 7 : 0) + 2 + TYPING;
	if (width && width < rest + room)
		room = width > rest + DIRECTORY_MIN ? width - rest : DIRECTORY_MIN;
	directory_format(directory, room, shown);
	snprintf(ret, PROMPT_MAX, "%s", named ? "muster:" : "");
	coloured(ret, tone_code(TONE_NAME), shown, colour);
	if (*mark)
		coloured(ret, tone_code(health->tone), mark, colour);
	coloured(ret, tone_code(health->tone), ">", colour);
	coloured(ret, tone_code(TONE_PLAIN), " ", colour);
}
