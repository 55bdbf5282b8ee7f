/* The lines of a script and who takes part in it. */
#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"
#include "script_inside.h"
#include "text.h"

int script_fail(struct script *script, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(script->result->text, sizeof(script->result->text), format, arguments);
	va_end(arguments);
	return error;
}

/* ---- participants ---- */

static void id_variable(struct script *script, const char *name, uint64_t seed)
{
	char label[64];
	char text[ID_TEXT_MAX];
	struct digest digest;
	struct id id;

	snprintf(label, sizeof(label), "%s %llu", name, (unsigned long long)seed);
	digest = digest_of(label, strlen(label));
	memcpy(id.bytes, digest.bytes, ID_SIZE);
	variable_set(&script->variables, slice_of(name), slice_of(id_format(&id, text)));
}

static const char *const kinds[] = {
	[DIALS_AS_CLIENT] = "client",
	[DIALS_AS_STORAGE] = "storage",
	[IS_NAMESERVER] = "nameserver",
	[IS_LISTENER] = "listener",
};

static struct participant *participant_get(struct script *script, const char *name,
					   const char *kind)
{
	struct participant *participant;

	for (unsigned int i = 0; i < script->participant_count; i++) {
		if (strcmp(script->participants[i].name, name) == 0)
			return &script->participants[i];
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i], kind) != 0 || script->participant_count == PARTICIPANTS_MAX)
			continue;
		participant = &script->participants[script->participant_count++];
		snprintf(participant->name, sizeof(participant->name), "%s", name);
		participant->kind = (enum participant_kind)i;
		id_variable(script, participant->name, script->how->seed);
		return participant;
	}
	return NULL;
}

void participant_close(struct script *script, struct participant *participant)
{
	if (participant->connection)
		script->how->peer->close(participant->connection);
	participant->connection = NULL;
	participant->asked_count = 0;
	participant->frame_count = 0;
	buffer_clear(&participant->held);
}

static void participant_done(struct script *script, struct participant *participant)
{
	participant_close(script, participant);
	if (participant->place)
		script->how->peer->unlisten(participant->place);
	buffer_done(&participant->held);
}

static void endpoint_variable(struct script *script, const char *name,
			      const struct endpoint *endpoint)
{
	struct buffer label = { 0 }, text = { 0 };

	buffer_printf(&label, "%s_endpoint", name);
	buffer_printf(&text, "{family=4 flags=1 address=");
	for (int i = 0; i < ID_SIZE; i++)
		buffer_printf(&text, "%02x", endpoint->address.bytes[i]);
	buffer_printf(&text, " port=%u}", endpoint->port);
	variable_set(&script->variables, (struct slice){ label.data, label.size },
		     (struct slice){ text.data, text.size });
	buffer_done(&label);
	buffer_done(&text);
}

int participant_listen(struct script *script, struct participant *participant)
{
	const struct script_peer *peer = script->how->peer;
	struct endpoint endpoint;

	if (participant->kind < IS_NAMESERVER || !peer->listen)
		return script_fail(script, -ERR_USAGE, "nobody dials %s", participant->name);
	if (!participant->place)
		participant->place =
			peer->listen(peer->context, participant->kind == IS_NAMESERVER, &endpoint);
	else
		return 0;
	if (!participant->place)
		return script_fail(script, -ERR_CONNECTION, "cannot listen");
	endpoint_variable(script, participant->name, &endpoint);
	return 0;
}

int participant_open(struct script *script, struct participant *participant)
{
	const struct script_peer *peer = script->how->peer;
	unsigned int number = (unsigned int)(participant - script->participants) + 1;
	int rc;

	if (participant->connection)
		return 0;
	if (participant->kind < IS_NAMESERVER) {
		participant->connection =
			peer->open(peer->context, participant->kind == DIALS_AS_STORAGE, number);
		return participant->connection
			       ? 0
			       : script_fail(script, -ERR_CONNECTION, "cannot connect");
	}
	rc = participant_listen(script, participant);
	if (rc < 0)
		return rc;
	participant->connection = peer->accept(participant->place);
	return participant->connection ? 0
				       : script_fail(script, -ERR_TIMEOUT, "nobody has dialled %s",
						     participant->name);
}

/* ---- lines ---- */

/* `client a: verb rest` */
static int participant_line(struct script *script, const char *line)
{
	struct participant *participant;
	char kind[16], name[32], verb[16];
	struct buffer text = { 0 };
	int used = 0, rc;

	if (sscanf(line, "%15[a-z] %31[a-z0-9_]: %15[a-z]%n", kind, name, verb, &used) != 3)
		return script_fail(script, -ERR_USAGE, "neither a participant nor a command: %s",
				   line);
	participant = participant_get(script, name, kind);
	if (!participant)
		return script_fail(script, -ERR_USAGE, "no such kind, or too many: %s", kind);
	text_expand(&script->variables, line + used, &text);
	rc = text.error ? text.error
			: verb_run(script, participant, verb,
				   (char *)text.data + strspn((char *)text.data, " "));
	buffer_done(&text);
	return rc;
}

static int script_line(struct script *script, const char *line)
{
	int rc;

	if (*line == '\0' || *line == '#')
		return 0;
	rc = command_run(script, line);
	return rc == -ERR_NOT_FOUND ? participant_line(script, line) : rc;
}

static void variables_init(struct script *script)
{
	unsigned long long seed = script->how->seed;
	char text[32];

	snprintf(text, sizeof(text), "run%llu", seed);
	variable_set(&script->variables, slice_of("run"), slice_of(text));
	snprintf(text, sizeof(text), "%llu", seed);
	variable_set(&script->variables, slice_of("now"), slice_of(text));
	/* The same in all runs: a storage server belongs to one cluster for ever. */
	if (script->how->peer->storage)
		id_variable(script, "cluster", 0);
}

int script_run(const char *text, const struct script_how *how, struct script_result *ret)
{
	struct script *script = calloc(1, sizeof(*script));
	int rc = 0;

	*ret = (struct script_result){ 0 };
	if (!script)
		return -ERR_NO_MEMORY;
	script->how = how;
	script->result = ret;
	variables_init(script);
	for (ret->line = 1; rc == 0 && *text; text += strcspn(text, "\n"), text += *text == '\n') {
		char *line = strndup(text, strcspn(text, "\n"));

		rc = line ? script_line(script, line + strspn(line, " \t")) : -ERR_NO_MEMORY;
		free(line);
		ret->line += rc == 0;
	}
	if (rc >= 0)
		ret->line = 0;
	for (unsigned int i = 0; i < script->participant_count; i++)
		participant_done(script, &script->participants[i]);
	variables_done(&script->variables);
	arena_done(&script->arena);
	free(script);
	return rc < 0 ? rc : 0;
}

int script_server(const char *text)
{
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		if (strncmp(text, "server storage\n", 15) == 0)
			return 1;
		if (strncmp(text, "server nameserver\n", 18) == 0)
			return 0;
	}
	return -ERR_USAGE;
}
