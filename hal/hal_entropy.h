/* hal_entropy: random bytes fit for keys. Any thread.
 *
 * Waits until the kernel's generator is seeded (a device may boot without entropy): at start for as long as
 * it takes, later never.
 */
#ifndef POSTERN_HAL_ENTROPY_H
#define POSTERN_HAL_ENTROPY_H

#include <stddef.h>

/* Fills all of it. Errors: ERR_ENTROPY (no generator on this device: TLS cannot be used). */
int hal_entropy_fill(void *bytes, size_t len);

#endif
