/* cli: the subcommands of postern. All but run, check, selftest and version speak HTTP to the running gateway
 * over its socket.
 *
 * Called by app with the process's arguments, on its only thread. Reads and writes through stdio. Help, usage
 * and option parsing come from one table (commands.c). Texts that came from outside (subjects, replies of
 * servers) are escaped before they reach a terminal.
 */
#ifndef POSTERN_CLI_CLI_H
#define POSTERN_CLI_CLI_H

#include "base/buf.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NO_GATEWAY = 3, CLI_TRY_LATER = 75 };

/* Does what the arguments say; run (of app) is called for `postern run` with the file of -c or NULL. Returns
 * the exit code. */
int cli_main(int argc, char **argv, int (*run)(const char *file));

/* Text from outside made safe for a terminal: control characters (C0, C1), what reorders text (bidi) and what
 * is no UTF-8 appear as \xHH. */
void cli_escape(struct buf *b, struct str s);

#endif
