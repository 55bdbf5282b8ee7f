#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "bytes.h"
#include "error.h"

static const struct error_info table[] = {
#define ERROR(number, name, scope, os, http, text) \
	{ (number), #name, SCOPE_##scope, (os), (http), (text) },
#define SCOPE_WIRE  true
#define SCOPE_LOCAL false
#include "error.def"
#undef SCOPE_LOCAL
#undef SCOPE_WIRE
#undef ERROR
};

const struct error_info *error_at(unsigned int position)
{
	return position < ARRAY_SIZE(table) ? &table[position] : NULL;
}

const struct error_info *error_info(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].code == code || table[i].code == -code)
			return &table[i];
	}
	return NULL;
}

const struct error_info *error_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	}
	return NULL;
}

const char *error_name(int code)
{
	const struct error_info *info = error_info(code);

	if (info)
		return info->name;
	return code == 0 ? "OK" : "UNKNOWN";
}

const char *error_text(int code)
{
	const struct error_info *info = error_info(code);

	if (info)
		return info->text;
	return code == 0 ? "done" : "unknown error";
}

/* Not the table read backwards: an errno tells what this machine said, not what a server would. */
int error_from_errno(int os)
{
	switch (os) {
	case ENOENT: return -ERR_NOT_FOUND;
	case EEXIST: return -ERR_EXISTS;
	case ENOTDIR: return -ERR_NOT_DIR;
	case EISDIR: return -ERR_IS_DIR;
	case ENOTEMPTY: return -ERR_NOT_EMPTY;
	case ENAMETOOLONG: return -ERR_NAME_TOO_LONG;
	case EFBIG: return -ERR_TOO_LARGE;
	case ENOSPC:
	case EDQUOT: return -ERR_LOCAL_FULL;
	case EACCES:
	case EROFS:
	case EPERM: return -ERR_NOT_PERMITTED;
	case ENOMEM: return -ERR_NO_MEMORY;
	case EADDRINUSE: return -ERR_ADDRESS_IN_USE;
	case EADDRNOTAVAIL: return -ERR_NO_PORT;
	case ETIMEDOUT: return -ERR_TIMEOUT;
	case ECANCELED: return -ERR_CANCELLED;
	case EAGAIN:
	case EMFILE:
	case ENFILE: return -ERR_UNAVAILABLE;
	case EBUSY:
	case ETXTBSY: return -ERR_LOCKED;
	case ENOTSUP:
	case ENOSYS: return -ERR_UNSUPPORTED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EHOSTDOWN: return -ERR_UNREACHABLE;
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case ENOTCONN:
	case EPIPE: return -ERR_CONNECTION;
	default: return -ERR_IO;
	}
}
