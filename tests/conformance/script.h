/* Conformance scripts (.mst): what must go over the wire, one line each, in the words of
 * protocol/messages.def. The same script runs against a core in memory and a live server.
 *
 *   # comment
 *   server storage               what is under test, `nameserver` or `storage`; comes first
 *   needs memory                 else it is skipped: a server with nothing in it, a clock of its
 *                                own; `needs $free < 16777216` compares numbers; `needs takeover`:
 *                                a live name server that was just started, on an empty directory;
 *                                such a script runs only if it is named
 *
 * Participants. The first line of one opens its connection:
 *   client a:    storage s:      dial the server under test; a storage server overhears
 *                                BATCH unless the script says `storage s: batches`
 *   nameserver n:                is dialled by the storage server under test; its heartbeats are
 *                                answered unless the script orders one
 *   listener h:                  any other place where we are dialled; `listener h: listen` sets
 *                                $h_endpoint, the record to be handed out
 * Their lines:
 *   client a: send stat path="/x"     a request
 *   client a: expect stat status=NOT_FOUND
 *                                the reply to the oldest request without one; replies with +MORE
 *                                are collected until the last, which has all their receipts.
 *                                Only the fields named are looked at; `*` is any value; a list
 *                                must have as many items as the script says; those of `receipts`
 *                                may come in any order. `unknown`: to a type that is none
 *   storage s: order connect lane=1   the next request that the server sends to us
 *   storage s: reply connect     answers the order taken last
 *   client a: data offset=0 length=9 last
 *                                DATA of the last request, bytes of the pattern; `broken`: one
 *                                byte is wrong; `abort`: no payload; `id=5`: of another request
 *   client a: bytes offset=0 length=9
 *                                takes DATA frames for the oldest request (or the order taken
 *                                last) that bring just these bytes of the pattern; `aborted`:
 *                                takes frames up to the one with ABORT
 *   storage s: nothing           neither an order nor a reply is waiting
 *   client a: raw 0a0b0c…        any bytes; their answer can be expected too
 *   client a: closed             the server has closed the connection
 *   client a: close              we do; the next line of `a` opens another one
 *   client a: hold               what is sent waits for
 *   client a: flush 7            which sends it in pieces of 7 bytes; without a number: in one
 *   client a: times 65 send ping the rest of the line, so often
 *
 * Commands:
 *   clock +1s                    time passes
 *   batch $b catalogue_epoch=1 … fields of REGISTER: those of the batch before; `name`: text of a
 *                                row; `disk` and `endpoints`: a member; `zone`: a catalogue of the
 *                                cluster `disk` with that file, of chunk `chunks` with `used` bytes
 *   disk IO                      the next chunk written or read meets that error (memory only)
 *   disk LOCAL_FULL, disk OK     the name server's disk is full; it no longer is
 *   set $x VALUE
 *   number $x                    a number that is new in each run
 *   repeat $x 255 TEXT           TEXT so many times
 *   digest $d TEXT               XXH3-128 of the text
 *   pattern $d LENGTH            the same of the first bytes of the pattern
 *   receipt $r key=$k chunk=$c length=9 digest=$d epoch=$e holder=$s
 *   ticket $t key=$k operation=1 chunk=$c …
 *                                signs one: the record as text, `ticket=$t`
 *   receipt key=$k RECEIPT       the tag must verify
 *   ticket key=$k TICKET         likewise, for that holder and client
 *
 * $name stands for a variable's text. In an expected message a variable that is not set yet takes
 * the value found there (a number, an id, or a whole record). Set from the start: $a, the id of the
 * participant `a` (of each that has appeared); $run, a word that is new in each run; $now, a number
 * that grows from run to run; $cluster where we play the name server. Byte i of the pattern is
 * i + i / 256 + i / 65536. */
#ifndef MUSTER_TESTS_SCRIPT_H
#define MUSTER_TESTS_SCRIPT_H

#include "buffer.h"
#include "bytes.h"
#include "coverage.h"
#include "message.h"

/* Whom the script talks to. Connections and places are handles of the implementation, not NULL. */
struct script_peer {
	void *context;
	bool storage; /* under test: a storage server, else a name server */
	bool memory;  /* a server of its own for each script, with nothing in it */
	/* `storage`: opened by a storage server; `number`: of the participant, from 1. */
	void *(*open)(void *context, bool storage, unsigned int number);
	int (*send)(void *connection, const void *bytes, size_t size);
	/* Appends the next whole frame to `ret`: 1; 0: none comes (waits as long as is reasonable,
	 * `patient` false: hardly); -ERR_CONNECTION: closed by the other side. */
	int (*receive)(void *connection, bool patient, struct buffer *ret);
	void (*close)(void *connection);
	void (*clock)(void *context, uint64_t ms);
	/* Where the server under test can dial us. `nameserver`: where it looks for its own. */
	void *(*listen)(void *context, bool nameserver, struct endpoint *ret);
	void *(*accept)(void *place); /* a connection, waited for; NULL: none came */
	void (*unlisten)(void *place);
	void (*disk)(void *context, int error); /* NULL: its disk is out of reach */
};

struct script_result {
	bool skipped;
	int line;        /* of the failure; 0: none */
	char text[2048]; /* why skipped, or what was wrong */
};

/* `seed`: makes ids, $run and number different from other runs. */
struct script_how {
	const struct script_peer *peer;
	bool named; /* this script alone was asked for, by its name */
	struct coverage *coverage;
	uint64_t seed;
};

/* `text`: the whole file. 0 also when it is skipped, else the negative reason; `ret` tells. */
int script_run(const char *text, const struct script_how *how, struct script_result *ret);

/* What the script is for: 1 a storage server, 0 a name server, -ERR_USAGE: it does not say. */
int script_server(const char *text);

#endif
