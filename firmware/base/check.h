/* base/check: assertions that stay on in production.
 *
 * CHECK is for bugs of ours only, never for input, I/O or memory. It logs the place through hal_log and
 * aborts; the supervisor restarts the process, and the store makes that safe at any instant.
 */
#ifndef POSTERN_BASE_CHECK_H
#define POSTERN_BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))

#endif
