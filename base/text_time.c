#include <stdio.h>
#include <time.h>

#include "text.h"

/* Apart from text.c, which cores use: local time reads the machine's time zone. */
const char *time_format(uint64_t wall_ms, char ret[TIME_TEXT_MAX])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm local;

	if (!localtime_r(&seconds, &local) ||
	    strftime(ret, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &local) == 0)
		snprintf(ret, TIME_TEXT_MAX, "-");
	return ret;
}
