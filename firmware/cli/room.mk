ROOM := cli
SRCS := main.c commands.c client.c send.c screens.c selftest.c
