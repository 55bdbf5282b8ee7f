/* The time, for glue only: cores are told it. */
#ifndef MUSTER_BASE_CLOCK_H
#define MUSTER_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ms(void); /* goes on while the machine is suspended */
uint64_t clock_monotonic_ns(void); /* does not: for measuring work */
uint64_t clock_wall_ms(void);      /* since 1970; for showing, never for deciding */

#endif
