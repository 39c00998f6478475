ROOM := mail
SRCS := mail.c mail_header.c mail_body.c mail_raw.c
