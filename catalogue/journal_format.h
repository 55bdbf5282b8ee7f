/* Inside the journal: what its files are called and how groups lie in them. See journal.h. */
#ifndef MUSTER_CATALOGUE_JOURNAL_FORMAT_H
#define MUSTER_CATALOGUE_JOURNAL_FORMAT_H

#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"

#define JOURNAL_DIRECTORY "journal"

enum {
	NUMBER_DIGITS = 8,
	FILE_NAME_MAX = sizeof(JOURNAL_DIRECTORY "/00000000"),
	ALIGNMENT = 4096,
	GROUP_HEADER_SIZE = 8,
};

/* The last byte is the version of all that the journal holds, batches included. */
static const uint8_t journal_magic[4] = { 'M', 'J', 'G', '3' };

static inline uint64_t align(uint64_t offset)
{
	return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static inline void file_name(uint32_t number, char ret[FILE_NAME_MAX])
{
	snprintf(ret, FILE_NAME_MAX, JOURNAL_DIRECTORY "/%08x", number);
}

/* False: it is another file's name. */
static inline bool file_number(const char *name, uint32_t *ret)
{
	if (strlen(name) != NUMBER_DIGITS || strspn(name, "0123456789abcdef") != NUMBER_DIGITS)
		return false;
	*ret = (uint32_t)strtoul(name, NULL, 16);
	return true;
}

#endif
