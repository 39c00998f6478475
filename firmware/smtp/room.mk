ROOM := smtp
SRCS := auth.c body.c client.c login.c open.c path.c reply.c wire.c
