/* base/arena: memory handed out in one direction and given back all at once.
 *
 * The caller brings the block; a decoded job, a parsed answer or a composed header lives in one arena and
 * dies with arena_reset. Nothing is ever freed singly and nothing is taken from the heap. Not shared between
 * threads.
 */
#ifndef POSTERN_BASE_ARENA_H
#define POSTERN_BASE_ARENA_H

#include "base/str.h"

struct arena {
	unsigned char *ptr;
	size_t cap;
	size_t used;
};

void arena_init(struct arena *a, void *memory, size_t cap);
void arena_reset(struct arena *a);

/* Zeroed, aligned for any object. NULL when it does not fit. */
void *arena_take(struct arena *a, size_t bytes);

/* A NUL-terminated copy. On no space .ptr is NULL (a copy of an empty string has a .ptr). */
struct str arena_str(struct arena *a, struct str s);

#endif
