ROOM := base
SRCS := arena.c base64.c buf.c check.c digest.c err.c json.c str.c timefmt.c
