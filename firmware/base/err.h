/* base/err: one table of errors for the whole program (err.def).
 *
 * Every fallible function of postern returns int: >= 0 on success, a negative ERR_x on failure. Names that a
 * caller can get are listed under "Errors:" at the function. Pure; any thread.
 */
#ifndef POSTERN_BASE_ERR_H
#define POSTERN_BASE_ERR_H

enum err_index {
	ERR_INDEX_OK,
#define ERR(name, class, text) ERR_INDEX_##name,
#include "base/err.def"
#undef ERR
	ERR_INDEX_COUNT
};

enum err {
	ERR_OK = 0,
#define ERR(name, class, text) ERR_##name = -ERR_INDEX_##name,
#include "base/err.def"
#undef ERR
};

enum err_class { ERR_CLASS_NONE, ERR_CLASS_RETRY, ERR_CLASS_WAIT, ERR_CLASS_GIVE_UP, ERR_CLASS_RESTART };

/* The name without its prefix ("TIMEOUT"), for logs. Never NULL. */
const char *err_name(int err);

/* The sentence for people ("timed out"). Never NULL. */
const char *err_text(int err);

/* What policy does about it. ERR_CLASS_NONE for err >= 0. */
enum err_class err_class(int err);

#endif
