ROOM := net
SRCS := ca.c dial.c line.c tls.c
