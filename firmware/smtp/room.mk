ROOM := smtp
SRCS := auth.c body.c client.c reply.c
