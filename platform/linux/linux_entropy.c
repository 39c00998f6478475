#include <errno.h>
#include <sys/random.h>

#include "base/err.h"
#include "hal_entropy.h"

int hal_entropy_fill(void *bytes, size_t len)
{
	unsigned char *p = bytes;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno != EINTR) {
			return ERR_ENTROPY;
		}
	}
	return 0;
}
