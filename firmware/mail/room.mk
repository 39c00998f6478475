ROOM := mail
SRCS := mail.c mail_header.c mail_body.c
