/* The one list of errors. Functions return 0 or a count, else a negative code: -ERR_NOT_FOUND.
 * The list, with each code's text, errno and HTTP status, is error.def. */
#ifndef MUSTER_BASE_ERROR_H
#define MUSTER_BASE_ERROR_H

#include <stdbool.h>

enum error {
	ERR_OK = 0,
#define ERROR(number, name, scope, os, http, text) ERR_##name = (number),
#include "error.def"
#undef ERROR
};

/* One row of the table; `error_find` also finds rows by their word. NULL where there is none. */
struct error_info {
	int code;
	const char *name;
	bool wire;
	int os;
	int http;
	const char *text;
};

const struct error_info *error_info(int code); /* takes the code with either sign */
const struct error_info *error_find(const char *name);
const struct error_info *error_at(unsigned int position); /* for walks over the table */

/* Never NULL: an unknown code reads "unknown error". 0 reads "OK" / "done". */
const char *error_name(int code);
const char *error_text(int code);

/* The negative code for an errno, never 0. Call it in the function that made the system call. */
int error_from_errno(int os);

#endif
