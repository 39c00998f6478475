ROOM := mail
SRCS := mail.c mail_header.c mail_words.c mail_address.c mail_part.c mail_pieces.c mail_scan.c mail_body.c mail_raw.c
