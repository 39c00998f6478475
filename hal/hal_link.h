/* hal_link: is there a network at all. Any thread; never waits. */
#ifndef POSTERN_HAL_LINK_H
#define POSTERN_HAL_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct hal_link_state {
	bool up; /* an interface besides loopback is running and has an address, or only loopback exists */
	uint32_t generation; /* changes each time addresses or routes change: connections from before may be
				dead */
};

void hal_link_get(struct hal_link_state *out);

#endif
