/* hal_ident: who this device is. Any thread; constant after start. */
#ifndef POSTERN_HAL_IDENT_H
#define POSTERN_HAL_IDENT_H

#include <stdint.h>

/* The device's host name, or "localhost". Never NULL, never empty. */
const char *hal_ident_host(void);

/* Memory the process holds now / at most so far, in bytes (resident set); 0 where the platform cannot tell.
 */
int64_t hal_ident_rss_bytes(void);
int64_t hal_ident_rss_peak_bytes(void);

#endif
