/* Inside the name server's core: why nothing is deleted, and what nobody can explain.
 *
 * Before an order to delete leaves, and before a copy is taken off the books for it,
 * deletes_are_held() is asked. Nothing at all is deleted
 *   HOLD_STALE    once a storage server has shown that there is a newer catalogue than this one: a
 *     chunk with an id that was not given out yet, or a later batch. Until the next start.
 *   HOLD_REBUILT  for 7 days of running time after the catalogue was put together from storage
 *     servers' copies. What they hold of runs whose end it does not know, and what no file
 *     explains, becomes files in /lost+found meanwhile (lost_found.c).
 * HOLD_BRAKE concerns single servers, and only what nobody asked for: unknown chunks, and copies
 * too many that neither repair made nor a smaller number of wanted copies explains. More than a
 * tenth of what a server holds (at least 1000 chunks) never goes within an hour of running time;
 * if unknown chunks would exceed that, the first of them goes an hour later. */
#ifndef MUSTER_NS_HOLD_H
#define MUSTER_NS_HOLD_H

#include "ns_state.h"

#define HOLD_AFTER_REBUILD_MS ((uint64_t)7 * 24 * 60 * 60 * 1000)

/* ---- hold.c ---- */

int hold_load(struct nameserver *ns); /* once the settings are known, before any id is given out */
bool deletes_are_held(const struct nameserver *ns);
bool is_rebuilt(const struct nameserver *ns); /* lately */
/* All servers have registered since the start. */
bool members_all_heard(const struct nameserver *ns);
enum delete_hold hold_of(const struct nameserver *ns);
/* Running time until it ends by itself; 0: it does not, or there is none. */
uint64_t hold_left_ms(const struct nameserver *ns);
/* A server has a chunk that is unknown: is that id one that we never gave out? */
void hold_chunk_heard(struct nameserver *ns, const struct member *member, uint64_t chunk);
/* A server wants to register (be it refused or not): is its catalogue newer? */
void hold_register_heard(struct nameserver *ns, const struct session *from,
			 const struct register_request *request);
void hold_tick(struct nameserver *ns);
/* So long this name server has slept. */
void hold_excuse(struct nameserver *ns, uint64_t ms);
uint64_t hold_deadline(const struct nameserver *ns);

/* The brake. How many of that many unknown chunks may be ordered away now. */
size_t brake_release(struct nameserver *ns, struct member *member, size_t unknown);
uint64_t brake_until_ms(const struct member *member); /* 0: nothing waits */
/* May a copy too many go from there? And: it goes. */
bool brake_lets_trim(const struct nameserver *ns, const struct member *member);
void brake_trimmed(struct nameserver *ns, struct member *member);
/* Repair has made a copy: another one may be too many for it. */
void brake_copy_made(struct nameserver *ns);
/* Somebody wants another number of copies of something. */
void brake_copies_set(struct nameserver *ns);

/* ---- lost_found.c ---- */

/* True: the chunk is older than the rebuild and is seen to here; it is not to be deleted. */
bool lost_found_takes(struct nameserver *ns, const struct member *member,
		      const struct chunk_ref *ref);
void lost_found_tick(struct nameserver *ns);
uint64_t lost_found_deadline(const struct nameserver *ns);
void lost_found_free(struct nameserver *ns);

#endif
