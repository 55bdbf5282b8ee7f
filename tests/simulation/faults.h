/* What faults are made of: faults.c has the single ones, usurp.c a whole course of them. */
#ifndef MUSTER_TESTS_FAULTS_H
#define MUSTER_TESTS_FAULTS_H

#include "world.h"

/* `to` hears nothing of `from` for so long. */
void fault_cut_one(struct world *w, const struct host *from, const struct host *to,
		   uint64_t time_us);
void fault_cut_both(struct world *w, const struct host *one, const struct host *other,
		    uint64_t time_us);
void fault_pause(struct host *host, uint64_t time_us);
/* The name server that serves sleeps for so long that the other one begins; see usurp.c. */
void fault_usurp(struct world *w);
/* May the name server lose its directory now? The storage servers have all that counts. */
bool fault_may_forget(struct world *w);
void fault_lose_directory(struct host *host);
/* It does, and meets one first that misses something. */
void fault_relapse(struct world *w);

#endif
