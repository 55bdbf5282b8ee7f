#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "temporary.h"

char *temporary_make(char ret[TEMPORARY_PATH_MAX])
{
	snprintf(ret, TEMPORARY_PATH_MAX, "/tmp/muster-test-XXXXXX");
	return mkdtemp(ret);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	(void)place;
	return remove(path);
}

void temporary_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
