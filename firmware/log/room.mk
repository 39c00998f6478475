ROOM := log
SRCS := log.c
