#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "base/check.h"

void arena_init(struct arena *a, void *memory, size_t cap)
{
	CHECK(memory || cap == 0);
	a->ptr = memory;
	a->cap = cap;
	a->used = 0;
}

void arena_reset(struct arena *a)
{
	a->used = 0;
}

void *arena_take(struct arena *a, size_t bytes)
{
	/* The block itself may start anywhere: align the address, not the offset. */
	uintptr_t at = (uintptr_t)a->ptr + a->used;
	size_t pad = (size_t)(-at & (alignof(max_align_t) - 1));
	size_t left = a->cap - a->used;
	unsigned char *p;

	if (!a->ptr || pad > left || bytes > left - pad) return NULL;
	p = a->ptr + a->used + pad;
	a->used += pad + bytes;
	memset(p, 0, bytes);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	size_t left = a->cap - a->used;
	char *p;

	/* Characters need no alignment: strings lie packed. */
	if (!a->ptr || s.len >= left) return (struct str){NULL, 0};
	p = (char *)a->ptr + a->used;
	a->used += s.len + 1;
	if (s.len > 0) memcpy(p, s.ptr, s.len);
	p[s.len] = '\0';
	return (struct str){p, s.len};
}
