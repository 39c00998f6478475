ROOM := health
SRCS := health.c
