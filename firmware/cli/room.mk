ROOM := cli
SRCS := main.c commands.c client.c send.c sendmail.c sendmail_words.c sendmail_message.c screens.c selftest.c
