ROOM := smtp
SRCS := auth.c body.c client.c path.c reply.c wire.c
