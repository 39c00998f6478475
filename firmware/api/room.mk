ROOM := api
SRCS := routes.c query.c emails.c submit.c rfc822.c status.c front_mhd.c
