ROOM := smtp
SRCS := auth.c body.c client.c exchange.c login.c open.c path.c reply.c scram.c secret.c wire.c
