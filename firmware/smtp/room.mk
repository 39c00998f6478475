ROOM := smtp
SRCS := auth.c body.c client.c content.c exchange.c flight.c login.c open.c path.c reply.c run.c scram.c secret.c step.c wire.c
