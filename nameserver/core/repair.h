/* What a chunk lacks, and who makes it good.
 *
 * Repair copies chunks that have too few sound copies from a server that has one to a server that
 * has none (FETCH), fewest copies first, and orders away what is too much: bad copies, copies on
 * servers that are to be emptied, copies beyond the wanted number. A walk (sweep.c) and whoever
 * changes a chunk's places say which chunks to look at; what is to be done is decided anew each
 * time a chunk is looked at, so nothing that is queued can be out of date. The queue is bounded:
 * what finds no room in it is found again by the next walk.
 *
 * Copies are missed
 *   at once: found bad; on a disk that failed; on a server to be emptied; elsewhere than on servers
 *     that may come back; and when only one of several is left
 *   never: of chunks that only garbage has, see catalogue.h
 *   after config.repair_delay_ms: on servers that went offline, or that have not been seen since
 *     the name server started; and late copies of files that were just put, as long as they can
 *     still come: not from or to a server that the client gave up, or that went away since
 * Copies are too many once the wanted number is *firm*: on servers that are online, have told what
 * they hold since they registered, are to stay, and whose disks work. */
#ifndef MUSTER_NS_REPAIR_H
#define MUSTER_NS_REPAIR_H

#include "ns_state.h"

/* ---- health.c ---- */

/* The most that any file with this chunk wants. -ERR_NOT_FOUND: no file has it. */
int chunk_wanted(struct nameserver *ns, uint64_t chunk, struct wanted_memory *memory, uint8_t *ret);

/* The same in a walk: `at` is its first pair, then that of the next chunk; zeros: there is none. */
int chunk_wanted_next(struct nameserver *ns, struct chunk_owner *at, struct wanted_memory *memory,
		      uint8_t *ret);

struct chunk_health {
	uint64_t chunk;
	uint8_t wanted;
	struct holders holders;
	struct copies copies;
	unsigned int planned; /* sound, on servers that are up and to stay, and whose disks work */
	unsigned int firm;    /* of these */
	unsigned int sources; /* servers that a sound copy can be had from now */
	unsigned int targets; /* servers that could take one */
	bool surplus;         /* a holder could do without its copy: bad, to be emptied, too many */
	bool doubted;         /* a copy is being looked at: what it finds is waited for */
	uint64_t missed_ms;   /* when what lacks is missed; UINT64_MAX: nothing lacks */
};

/* Sets ns->takers and ns->unheard, for health_fill. */
void takers_count(struct nameserver *ns);
/* `holders` and `wanted` are filled in; the rest follows. */
void health_fill(const struct nameserver *ns, struct chunk_health *health);
/* -ERR_NOT_FOUND: no file has the chunk. */
int health_get(struct nameserver *ns, uint64_t chunk, struct chunk_health *ret);

/* NEED_SERVERS: something should be done, and will be when other servers are there. */
enum need { NEED_NOTHING, NEED_TRIM, NEED_COPY, NEED_COPY_LATER, NEED_SERVERS };
enum need health_need(const struct nameserver *ns, const struct chunk_health *health);

bool copy_is_firm(const struct member *member, uint64_t chunk);
bool member_may_take(const struct member *member, uint64_t length);
bool copy_is_bad(const struct member *member, uint64_t chunk);
bool holders_have(const struct holders *holders, uint16_t number);
enum { FETCHES_OF_SERVER = 4 }; /* as source, and as target; see fetches_most() */
/* The server to have a copy from; `failed` (0: none) only if there is no other. NULL: none now. */
struct member *source_choose(const struct nameserver *ns, const struct chunk_health *health,
			     uint16_t failed);
/* The server to make a copy on; not where it failed the last time (0: nowhere) if it can be helped.
 * NULL: none now. */
struct member *target_choose(struct nameserver *ns, const struct chunk_health *health,
			     uint16_t failed, uint32_t length);
/* The holder whose copy is to go first; NULL: none may. */
struct member *surplus_choose(const struct nameserver *ns, const struct chunk_health *health);

/* ---- places.c ---- */

/* A receipt that verified: 1: the copy counts. */
int place_stored(struct nameserver *ns, struct member *member, const struct receipt *receipt);
/* The same, of our own FETCH. */
int place_fetched(struct nameserver *ns, struct member *member, const struct receipt *receipt);
/* The server has shown that it holds that chunk of a file. */
int place_found(struct nameserver *ns, struct member *member, uint64_t chunk);
/* Takes the copy off the books and has it deleted there; see chunk_doom. */
int place_trim(struct nameserver *ns, struct member *member, uint64_t chunk);
/* It was not deleted after all. */
int place_keep(struct nameserver *ns, struct member *member, uint64_t chunk);
/* A copy found bad, by its own server or as a client says: 1: something has changed. */
int place_bad(struct nameserver *ns, struct member *member, uint64_t chunk, bool own);
void corrupt_tell(struct nameserver *ns, const struct member *member, uint64_t chunk,
		  const char *by);
/* Its server has read it, and it is right. */
int place_sound(struct nameserver *ns, struct member *member, uint64_t chunk);
void bad_remove(struct nameserver *ns, struct member *member, uint64_t chunk);

/* ---- repair.c ---- */

int repair_new(struct nameserver *ns);
void repair_free(struct nameserver *ns);
void repair_tick(struct nameserver *ns);
uint64_t repair_deadline(const struct nameserver *ns);
uint64_t repair_count(const struct nameserver *ns);   /* chunks to be copied, or being copied */
uint64_t repair_rate(const struct nameserver *ns);    /* bytes a second, lately */
uint64_t repair_left_ms(const struct nameserver *ns); /* estimated; 0: unknown, or nothing to do */
/* Something about the chunk has changed. */
void repair_look(struct nameserver *ns, uint64_t chunk);
/* A put has ended that many copies short: those on their way are awaited for a while. */
void repair_await(struct nameserver *ns, const struct lease *lease, unsigned int lacking);
uint64_t repair_awaited_ms(const struct nameserver *ns, uint64_t chunk); /* until then; 0: no */
/* The server has begun anew, or is gone: nothing comes from it or by way of it any more. */
void repair_interrupted(struct nameserver *ns, const struct member *member);
/* Much room has come somewhere. */
void repair_has_room(struct nameserver *ns);
/* What a walk has found. */
void repair_found(struct nameserver *ns, const struct chunk_health *health);
/* There is something to be done for which servers are missing; one has come. */
void repair_wait(struct nameserver *ns);
void repair_server_came(struct nameserver *ns);
/* A FETCH that had been given up was answered after all. */
void fetch_answered_late(struct nameserver *ns, struct member *member,
			 const struct fetch_reply *reply);

/* ---- repair_told.c ---- */

/* `level`; but of what is told of many chunks a hundred in ten minutes, then LOG_DEBUG. */
enum log_level telling_level(const struct nameserver *ns, struct telling *telling,
			     enum log_level level);
/* From when something is begun that proves to be done until nothing is left to do. */
enum { RATE_SECONDS = 10 };
struct repair_work {
	bool running;
	uint64_t begun_ms, told_ms;
	uint64_t copied, bytes, trimmed;
	uint64_t lately[RATE_SECONDS]; /* bytes copied in each of these seconds */
	uint64_t second;               /* the last of them */
};
void work_begin(const struct nameserver *ns, struct repair_work *work, uint64_t since_ms);
void work_copied(const struct nameserver *ns, struct repair_work *work, uint64_t bytes);
uint64_t work_rate(const struct nameserver *ns,
		   const struct repair_work *work); /* bytes a second */
void work_tell(struct nameserver *ns, struct repair_work *work, uint64_t left);
uint64_t work_deadline(const struct nameserver *ns, const struct repair_work *work, uint64_t left);
/* The path of a file that has the chunk, quoted for an event; "" if none has a name. */
const char *chunk_path_quoted(struct nameserver *ns, uint64_t chunk);

/* ---- balance.c ---- */

int balance_new(struct nameserver *ns);
void balance_free(struct nameserver *ns);
void balance_tick(struct nameserver *ns);
uint64_t balance_deadline(const struct nameserver *ns);
void balance_look(struct nameserver *ns); /* a server has said how full it is */
void balance_wake(struct nameserver *ns); /* one has come: perhaps more can be moved */
bool balance_is_running(const struct nameserver *ns);

/* ---- doubts.c ---- */

/* Somebody else says that this copy is bad or gone: its server is asked to look. */
void copy_doubt(struct nameserver *ns, struct member *member, uint64_t chunk);
void doubts_tick(struct nameserver *ns);
uint64_t doubts_deadline(const struct nameserver *ns);

/* ---- verify.c ---- */

void verify_tick(struct nameserver *ns);
uint64_t verify_deadline(const struct nameserver *ns);
void verify_free(struct nameserver *ns);

/* ---- orders.c; see orders.h ---- */

void order_answered(struct nameserver *ns, struct session *from, const struct frame_header *header,
		    const uint8_t *body);
void orders_lost(struct nameserver *ns, const struct member *member);
void orders_excuse(struct nameserver *ns, uint64_t ms);
void orders_tick(struct nameserver *ns);
uint64_t orders_deadline(const struct nameserver *ns);
void orders_free(struct nameserver *ns);

#endif
