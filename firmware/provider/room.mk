ROOM := provider
SRCS := attempt.c batch.c breaker.c conn.c ending.c maildir.c original.c outcome.c pool.c retry.c spec.c worker.c
