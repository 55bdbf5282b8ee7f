/* Lines that are no participant's: variables, signatures, time. */
#include <stdio.h>
#include <stdlib.h>

#include "batch.h"
#include "catalogue.h"
#include "hash.h"
#include "kv_memory.h"
#include "random.h"
#include "script_inside.h"
#include "text.h"
#include "ticket.h"

static int do_clock(struct script *script, const char *text)
{
	const struct script_peer *peer = script->how->peer;
	uint64_t ms;

	if (*text != '+' || duration_parse(text + 1, &ms) < 0)
		return script_fail(script, -ERR_USAGE, "clock +20s");
	peer->clock(peer->context, ms);
	return 0;
}

static int do_disk(struct script *script, const char *text)
{
	const struct script_peer *peer = script->how->peer;
	const struct error_info *error = error_find(text);

	if ((!error && strcmp(text, "OK") != 0) || !peer->disk)
		return script_fail(script, -ERR_USAGE, "disk IO, and needs memory");
	peer->disk(peer->context, error ? -error->code : 0);
	return 0;
}

/* `$name value`: the slice of the name, and what follows it. */
static struct slice target_of(const char *text, const char **ret_rest)
{
	size_t size = strcspn(text, " ");

	*ret_rest = text + size + strspn(text + size, " ");
	if (*text != '$' || size < 2)
		return (struct slice){ 0 };
	return (struct slice){ (const uint8_t *)text + 1, size - 1 };
}

static int do_set(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);

	return name.size ? variable_set(&script->variables, name, slice_of(rest))
			 : script_fail(script, -ERR_USAGE, "set $name value");
}

static int do_number(struct script *script, const char *text)
{
	struct prng prng = { .state = script->how->seed * 1000 + ++script->numbers };
	const char *rest;
	struct slice name = target_of(text, &rest);
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)(prng_next(&prng) >> 2) + 1);
	return name.size ? variable_set(&script->variables, name, slice_of(number))
			 : script_fail(script, -ERR_USAGE, "number $name");
}

static int do_repeat(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);
	struct buffer result = { 0 };
	unsigned int count;
	int used = 0, rc;

	if (!name.size || sscanf(rest, "%u %n", &count, &used) != 1)
		return script_fail(script, -ERR_USAGE, "repeat $name 255 text");
	for (rest += used; count > 0; count--)
		buffer_append(&result, rest, strlen(rest));
	rc = result.error ? result.error
			  : variable_set(&script->variables, name,
					 (struct slice){ result.data, result.size });
	buffer_done(&result);
	return rc;
}

static int digest_set(struct script *script, struct slice name, struct digest digest)
{
	char hex[ID_TEXT_MAX];
	struct id id;

	memcpy(id.bytes, digest.bytes, ID_SIZE);
	return name.size ? variable_set(&script->variables, name, slice_of(id_format(&id, hex)))
			 : script_fail(script, -ERR_USAGE, "$name is missing");
}

static int do_digest(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);

	return digest_set(script, name, digest_of(rest, strlen(rest)));
}

static int do_pattern(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);
	struct buffer bytes = { 0 };
	uint64_t length;
	int rc;

	if (number_parse(rest, 1, CHUNK_SIZE_MAX, &length) < 0 || !buffer_extend(&bytes, length))
		return script_fail(script, -ERR_USAGE, "pattern $name LENGTH");
	pattern_fill(bytes.data, 0, length);
	rc = digest_set(script, name, digest_of(bytes.data, length));
	buffer_done(&bytes);
	return rc;
}

/* ---- batches of the catalogue ---- */

/* The record by itself, out of a message that has just one of it. */
static int message_of(struct script *script, const char *format, const char *record,
		      struct message *ret)
{
	struct buffer text = { 0 };
	int rc;

	buffer_printf(&text, format, record);
	buffer_append(&text, "", 1);
	rc = message_parse((char *)text.data, false, &script->arena, ret);
	buffer_done(&text);
	return rc < 0 ? script_fail(script, rc, "%s in: %s", error_name(rc), record) : 0;
}

/* The variable's text is what a message would show. */
static int quoted_set(struct script *script, const char *name, struct slice bytes)
{
	struct pull_reply body = { .batches = bytes };
	struct message message = { .info = message_info(MSG_pull), .reply = true, .body = &body };
	struct buffer text = { 0 };
	const char *begin;
	int rc;

	message_print(&message, &text);
	buffer_append(&text, "", 1);
	begin = text.error ? NULL : strchr((char *)text.data, '"');
	rc = begin ? variable_set(&script->variables, slice_of(name), slice_of(begin))
		   : -ERR_NO_MEMORY;
	buffer_done(&text);
	return rc;
}

/* A catalogue with one file in its root, of one chunk of `used` bytes of the pattern. */
static int batch_catalogue(struct kv *kv, const struct register_request *fields)
{
	uint8_t path[1 + ZONE_NAME_MAX] = { '/' };
	struct chunk_row chunk = { .chunk = fields->chunks, .length = (uint32_t)fields->used };
	struct new_file file = { .entry = { .inode = fields->chunks, .copies = 1 },
				 .size = fields->used,
				 .chunk_size = CHUNK_SIZE_DEFAULT,
				 .chunks = &chunk,
				 .chunk_count = 1 };
	struct inode inode;
	int rc = catalogue_format(kv, &fields->disk, "conformance");

	memcpy(path + 1, fields->zone.data, fields->zone.size);
	return rc < 0 ? rc
		      : catalogue_put_file(kv, (struct slice){ path, 1 + fields->zone.size }, &file,
					   0, &inode);
}

/* The server as a member, if it has endpoints, and a row with the text: keys ascend. */
static int batch_rows(struct kv *kv, const struct register_request *fields)
{
	struct member_row member = { .node = fields->disk,
				     .number = 1,
				     .endpoint_count = fields->endpoints_count };
	int rc = fields->zone.size ? batch_catalogue(kv, fields) : 0;

	if (rc == 0 && fields->endpoints_count > 0) {
		memcpy(member.endpoints, fields->endpoints,
		       fields->endpoints_count * sizeof(*fields->endpoints));
		rc = member_put(kv, &member);
	}
	return rc < 0 ? rc : setting_put(kv, "text", fields->name);
}

static int batch_variables(struct script *script, const char *name, struct slice batch,
			   struct digest hash)
{
	char variable[64], size[24];
	int rc = quoted_set(script, name, batch);

	snprintf(size, sizeof(size), "%zu", batch.size);
	snprintf(variable, sizeof(variable), "%s_size", name);
	if (rc == 0)
		rc = variable_set(&script->variables, slice_of(variable), slice_of(size));
	snprintf(variable, sizeof(variable), "%s_rows", name);
	if (rc == 0)
		rc = quoted_set(script, variable,
				(struct slice){ batch.data + BATCH_HEADER_SIZE,
						batch.size - BATCH_HEADER_SIZE });
	snprintf(variable, sizeof(variable), "%s_hash", name);
	return rc < 0 ? rc : digest_set(script, slice_of(variable), hash);
}

/* The fields are named as in REGISTER: of the batch before; its name is the text of a row, its disk
 * and endpoints make a member; its zone names a file, see above. */
static int batch_make(struct script *script, const char *name, const struct register_request *req)
{
	struct batch_head head = { .epoch = req->catalogue_epoch,
				   .sequence = req->catalogue_sequence + 1,
				   .previous = req->catalogue_hash };
	struct buffer batch = { 0 };
	struct digest hash;
	struct kv *kv;
	int rc = kv_memory_new(&kv);

	if (rc < 0)
		return rc;
	rc = batch_rows(kv, req);
	if (rc == 0)
		rc = batch_seal(kv, &head, &batch, &hash);
	if (rc > 0)
		rc = batch_variables(script, name, (struct slice){ batch.data, batch.size }, hash);
	kv_memory_free(kv);
	buffer_done(&batch);
	return rc;
}

static int do_batch(struct script *script, const char *text)
{
	const char *rest;
	struct slice target = target_of(text, &rest);
	struct message message;
	char name[48];
	int rc;

	if (!target.size || target.size >= sizeof(name))
		return script_fail(script, -ERR_USAGE, "batch $name catalogue_epoch=… name=…");
	snprintf(name, sizeof(name), "%.*s", (int)target.size, (const char *)target.data);
	rc = message_of(script, "register %s", rest, &message);
	return rc < 0 ? rc : batch_make(script, name, message.body);
}

/* ---- signatures ---- */

/* Cuts `key=HEX` off the front of the text. */
static struct hmac *take_key(const char **text)
{
	struct key key = { { 0 } };
	unsigned int byte;

	if (strncmp(*text, "key=", 4) != 0)
		return NULL;
	*text += 4;
	for (size_t i = 0; i < KEY_SIZE && sscanf(*text, "%2x", &byte) == 1; i++, *text += 2)
		key.bytes[i] = (uint8_t)byte;
	*text += strspn(*text, " ");
	return hmac_new(&key);
}

/* The first record in braces of the message becomes the variable's text. */
static int record_variable(struct script *script, struct slice name, const struct message *message)
{
	struct buffer text = { 0 };
	const char *begin, *end;
	int rc;

	message_print(message, &text);
	buffer_append(&text, "", 1);
	begin = strchr((char *)text.data, '{');
	end = strrchr((char *)text.data, '}');
	rc = begin && end ? variable_set(&script->variables, name,
					 (struct slice){ (const uint8_t *)begin,
							 (size_t)(end - begin) + 1 })
			  : -ERR_BAD_REQUEST;
	buffer_done(&text);
	return rc;
}

static int receipt_make(struct script *script, struct hmac *key, struct slice name,
			const char *fields)
{
	struct stored_request request;
	struct receipt receipt;
	struct message message;
	int rc = message_of(script, "stored receipts=[{%s}]", fields, &message);

	if (rc < 0)
		return rc;
	request = *(const struct stored_request *)message.body;
	receipt = request.receipts[0];
	receipt_sign(key, &receipt);
	request.receipts = &receipt;
	message.body = &request;
	return record_variable(script, name, &message);
}

static int receipt_check(struct script *script, struct hmac *key, const char *record)
{
	struct message message;
	int rc = message_of(script, "stored receipts=[%s]", record, &message);

	if (rc < 0)
		return rc;
	return receipt_verify(key, ((const struct stored_request *)message.body)->receipts)
		       ? 0
		       : script_fail(script, -ERR_BAD_RECEIPT, "the receipt does not verify");
}

static int ticket_make(struct script *script, struct hmac *key, struct slice name,
		       const char *fields)
{
	struct read_request request;
	struct message message;
	int rc = message_of(script, "read ticket={%s}", fields, &message);

	if (rc < 0)
		return rc;
	request = *(const struct read_request *)message.body;
	ticket_sign(key, &request.ticket);
	message.body = &request;
	return record_variable(script, name, &message);
}

static int ticket_check(struct script *script, struct hmac *key, const char *record)
{
	const struct ticket *ticket;
	struct ticket_use use = { .chunk = 0 };
	struct message message;
	int rc = message_of(script, "read ticket=%s", record, &message);

	if (rc < 0)
		return rc;
	ticket = &((const struct read_request *)message.body)->ticket;
	use.holder = ticket->holder;
	use.client = ticket->client;
	use.epoch = ticket->epoch;
	use.operation = ticket->operation;
	rc = ticket_verify(key, ticket, &use);
	return rc < 0 ? script_fail(script, rc, "the ticket does not verify: %s", error_name(rc))
		      : 0;
}

typedef int make_fn(struct script *script, struct hmac *key, struct slice name, const char *fields);
typedef int check_fn(struct script *script, struct hmac *key, const char *record);

static int signature(struct script *script, const char *text, make_fn *make, check_fn *check)
{
	struct slice name = *text == '$' ? target_of(text, &text) : (struct slice){ 0 };
	struct hmac *key = take_key(&text);
	int rc;

	if (!key)
		return script_fail(script, -ERR_USAGE, "[$name] key=… record");
	rc = name.size ? make(script, key, name, text) : check(script, key, text);
	hmac_free(key);
	return rc;
}

static int do_receipt(struct script *script, const char *text)
{
	return signature(script, text, receipt_make, receipt_check);
}

static int do_ticket(struct script *script, const char *text)
{
	return signature(script, text, ticket_make, ticket_check);
}

/* ---- whether it can run here ---- */

static int skip(struct script *script, const char *text)
{
	script_fail(script, 0, "needs %s", text);
	script->result->skipped = true;
	return 1;
}

static int do_needs(struct script *script, const char *text)
{
	unsigned long long less, more;

	if (strcmp(text, "memory") == 0)
		return script->how->peer->memory ? 0 : skip(script, text);
	if (strcmp(text, "takeover") == 0)
		return script->how->named && !script->how->peer->memory ? 0 : skip(script, text);
	if (sscanf(text, "%llu < %llu", &less, &more) != 2)
		return script_fail(script, -ERR_USAGE, "needs memory, needs takeover, needs 1 < 2");
	return less < more ? 0 : skip(script, text);
}

static int do_server(struct script *script, const char *text)
{
	bool storage = strcmp(text, "storage") == 0;

	if (storage == script->how->peer->storage)
		return 0;
	return script_fail(script, -ERR_USAGE, "this script is for a %s server",
			   storage ? "storage" : "name");
}

static const struct command {
	const char *name;
	int (*call)(struct script *script, const char *text);
} commands[] = {
	{ "clock", do_clock },     { "disk", do_disk },       { "set", do_set },
	{ "number", do_number },   { "repeat", do_repeat },   { "digest", do_digest },
	{ "pattern", do_pattern }, { "receipt", do_receipt }, { "ticket", do_ticket },
	{ "needs", do_needs },     { "server", do_server },   { "batch", do_batch },
};

/* The target of a command keeps its name; what comes after it is expanded. */
static int command_call(struct script *script, const struct command *command, const char *rest)
{
	size_t target = *rest == '$' && strcmp(command->name, "needs") ? strcspn(rest, " ") : 0;
	struct buffer text = { 0 };
	int rc;

	buffer_append(&text, rest, target);
	text_expand(&script->variables, rest + target, &text);
	rc = command->call(script, (char *)text.data);
	buffer_done(&text);
	return rc;
}

int command_run(struct script *script, const char *line)
{
	size_t word = strcspn(line, " ");

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strlen(commands[i].name) == word && strncmp(commands[i].name, line, word) == 0)
			return command_call(script, &commands[i],
					    line + word + strspn(line + word, " "));
	}
	return -ERR_NOT_FOUND;
}
