ROOM := api
SRCS := routes.c query.c emails.c status.c front_mhd.c
