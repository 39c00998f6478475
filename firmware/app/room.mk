ROOM := app
SRCS := app.c
