/* base/limits: the capacities of config/limits.def as constants LIMIT_name. Compile-time; no code. */
#ifndef POSTERN_BASE_LIMITS_H
#define POSTERN_BASE_LIMITS_H

enum {
#define LIMIT(name, value, unit, cost_bytes, text) LIMIT_##name = (value),
#include "limits.def"
#undef LIMIT
};

#endif
