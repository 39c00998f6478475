ROOM := net
SRCS := ca.c dial.c judge.c line.c resume.c tls.c
