/* Conformance scripts (.mst): what must go over the wire, one line each, in the words of
 * protocol/messages.def. The same script runs against a core in memory and against a live server.
 *
 *     # comment                      the first lines may say `needs memory` or `needs clock`
 *     client a: send stat path="/x"  a request; the connection is opened by its first line
 *     client a: expect stat status=NOT_FOUND
 *                                    the reply to the oldest request without one. Only the fields
 *                                    named are looked at; `*` is any value; a list must have as
 *                                    many items as the script says
 *     storage s: order connect lane=1   the next request that the server sends to us
 *     storage s: reply connect          answers the order taken last
 *     storage s: nothing                neither an order nor a reply is waiting
 *     client a: raw 0a0b0c…             any bytes; their answer can be expected too
 *     client a: closed                  the server has closed the connection
 *     client a: close                   we do; the next line of `a` opens another one
 *     clock +20s                        time passes (memory only)
 *     set $x VALUE                      digest $d TEXT: XXH3-128 of the text, set $d
 *     receipt $r key=$k chunk=$c length=9 digest=$d epoch=$e holder=$s
 *                                       signs a receipt: the record as text, `receipts=[$r]`
 *     ticket key=$k TICKET              the tag must verify, for that holder and client
 *
 * $name stands for a variable's text. In an expected message a variable that is not set yet takes
 * the value found there (a number, an id, or a whole record). Set from the start: $a, the id of the
 * participant `a` (of each that has appeared), and $run, a word that is new in each run. */
#ifndef MUSTER_TESTS_SCRIPT_H
#define MUSTER_TESTS_SCRIPT_H

#include "buffer.h"
#include "bytes.h"

/* Whom the script talks to. Connections are handles of the implementation, never NULL. */
struct script_peer {
	void *context;
	/* `storage`: opened by a storage server; `number`: of the participant, from 1. */
	void *(*open)(void *context, bool storage, unsigned int number);
	int (*send)(void *connection, const void *frame, size_t size);
	/* Appends the next whole frame to `ret`: 1; 0: none comes (waits as long as is reasonable,
	 * `patient` false: hardly); -ERR_CONNECTION: closed by the other side. */
	int (*receive)(void *connection, bool patient, struct buffer *ret);
	void (*close)(void *connection);
	void (*clock)(void *context,
		      uint64_t ms); /* NULL: real time, scripts that need it are skipped */
	bool memory;                /* a server of its own for each script, with nothing in it */
};

/* What the scripts have exercised, over several runs: by message code and by status. */
enum { COVERAGE_CODES = 256, COVERAGE_STATUSES = 64 };
struct script_coverage {
	bool requests[COVERAGE_CODES];
	bool replies[COVERAGE_CODES];
	bool statuses[COVERAGE_STATUSES];
};

struct script_result {
	bool skipped;
	int line;        /* of the failure; 0: none */
	char text[2048]; /* why skipped, or what was wrong */
};

/* `text`: the whole file. `seed` makes ids and $run different from other runs. Returns 0 also when
 * it is skipped, else the negative reason; `ret` tells. */
struct script_how {
	const struct script_peer *peer;
	struct script_coverage *coverage;
	uint64_t seed;
};
int script_run(const char *text, const struct script_how *how, struct script_result *ret);

#endif
