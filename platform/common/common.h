/* platform/common: what every platform would otherwise write again. Pure; any thread. */
#ifndef POSTERN_PLATFORM_COMMON_H
#define POSTERN_PLATFORM_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hal_dns.h"

/* A path of hal_storage, relative or absolute: shorter than HAL_PATH_MAX, no empty part, no "." or "..". */
bool common_path_valid(const char *path);
/* "" or ".": the root itself, where a directory is wanted. */
bool common_path_is_root(const char *path);
/* The directory part: "" when there is none, "/" of "/x"; out has HAL_PATH_MAX bytes. */
void common_path_dir(const char *path, char *out);

/* One more address of an answer that was zeroed at first: counted, and kept when its family has room. */
void common_dns_add(struct hal_dns_answer *answer, const struct hal_addr *addr);

/* The part of hal_dns_resolve that asks nobody: literals and "localhost". Fills *out, zeroed before; returns the
 * number of addresses, 0 when a resolver has to be asked. Errors: ERR_INVALID (not a host name: RFC 1123 letters,
 * digits, '-', '.', and '_'). */
int common_dns_local(const char *host, uint16_t port, struct hal_dns_answer *out);

#endif
