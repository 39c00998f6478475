/* platform/common: what every platform would otherwise write again. Pure; any thread. */
#ifndef POSTERN_PLATFORM_COMMON_H
#define POSTERN_PLATFORM_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hal_addr.h"

/* A path of hal_storage, relative or absolute: shorter than HAL_PATH_MAX, no empty part, no "." or "..". */
bool common_path_valid(const char *path);
/* "" or ".": the root itself, where a directory is wanted. */
bool common_path_is_root(const char *path);
/* The directory part: "" when there is none, "/" of "/x"; out has HAL_PATH_MAX bytes. */
void common_path_dir(const char *path, char *out);

/* The part of hal_dns_resolve that asks nobody: literals and "localhost". Returns the number of
 * addresses, 0 when a resolver has to be asked. Errors: ERR_INVALID (not a host name: RFC 1123 letters,
 * digits, '-', '.', and '_'). */
int common_dns_local(const char *host, uint16_t port, struct hal_addr *out, size_t cap);

#endif
