ROOM := queue
SRCS := intake.c
