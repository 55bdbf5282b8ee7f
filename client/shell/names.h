/* What commands say of one name. */
#ifndef MUSTER_SHELL_NAMES_H
#define MUSTER_SHELL_NAMES_H

#include "command.h"
#include "text.h"

enum { DIGEST_TEXT_MAX = 5 + ID_TEXT_MAX, COPIES_TEXT_MAX = 32 };

/* "xxh3:df8d09e93f874900a99b8775cc15b6c7" */
const char *digest_format(const uint8_t digest[16], char ret[DIGEST_TEXT_MAX]);
/* As JSON; `has` false: null. */
void json_digest(cJSON *object, bool has, const uint8_t digest[16]);
/* "2/3", or "?/3" where nobody knows */
const char *copies_format(unsigned int copies, unsigned int wanted, char ret[COPIES_TEXT_MAX]);
/* The keys that every command gives a name. */
cJSON *entry_object(const char *path, const struct muster_entry *entry);
/* Where no path is given: the current directory. */
void call_default_here(struct call *call);

#endif
