#include <string.h>

#include "names.h"

const char *digest_format(const uint8_t digest[16], char ret[DIGEST_TEXT_MAX])
{
	struct id id;

	memcpy(id.bytes, digest, sizeof(id.bytes));
	memcpy(ret, "xxh3:", 5);
	id_format(&id, ret + 5);
	return ret;
}

void json_digest(cJSON *object, bool has, const uint8_t digest[16])
{
	char text[DIGEST_TEXT_MAX];

	if (has)
		json_text(object, "digest", digest_format(digest, text));
	else
		json_null(object, "digest");
}

const char *copies_format(unsigned int copies, unsigned int wanted, char ret[COPIES_TEXT_MAX])
{
	if (copies == MUSTER_COPIES_UNKNOWN)
		snprintf(ret, COPIES_TEXT_MAX, "?/%u", wanted);
	else
		snprintf(ret, COPIES_TEXT_MAX, "%u/%u", copies, wanted);
	return ret;
}

cJSON *entry_object(const char *path, const struct muster_entry *entry)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "path", path);
	json_text(object, "name", remote_name(path));
	json_text(object, "type", entry->type == MUSTER_DIRECTORY ? "dir" : "file");
	json_number(object, "size", entry->size);
	json_number(object, "modified", entry->modified_ms);
	if (entry->copies == MUSTER_COPIES_UNKNOWN)
		json_null(object, "copies");
	else
		json_number(object, "copies", entry->copies);
	json_number(object, "version", entry->version);
	json_digest(object, entry->has_digest, entry->digest);
	return object;
}

void call_default_here(struct call *call)
{
	static char dot[] = ".";
	static char *here[] = { dot, NULL };

	if (call->count == 0) {
		call->arguments = here;
		call->count = 1;
	}
}
