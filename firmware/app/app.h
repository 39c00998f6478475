/* app: the composition root. Boot order, the main loop, reload and shutdown; no mail, no sockets, no SQL of
 * its own.
 *
 * platform's main calls app_main on the process's first thread. Everything below is reached through hal/ and
 * the other rooms' headers, so that the simulator runs this room as it is.
 *
 *   boot      settings, log, user, storage, store, providers and workers, drop directory, API, ready
 *   each 1 s  wishes (reload, stop), clock steps, store_tick, link changes, health -> LED, watchdog
 *   stop      API, workers, store, storage: within 10 s
 */
#ifndef POSTERN_APP_APP_H
#define POSTERN_APP_APP_H

#include "settings/settings.h"

/* The whole program: every command. Returns the exit code. */
int app_main(int argc, char **argv);

/* The gateway, until it is told to stop: 0 after an orderly end, 1 when it could not start, 2 when its
 * configuration is bad. source must stay: a reload reads from it again. */
int app_run(const struct settings_source *source);

#endif
