#include <errno.h>
#include <sys/random.h>

#include "error.h"
#include "random.h"

int random_bytes(void *ret, size_t size)
{
	uint8_t *at = ret;

	while (size) {
		ssize_t got = getrandom(at, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_from_errno(errno);
		at += got;
		size -= (size_t)got;
	}
	return 0;
}
