# inih: the INI reader. Inline comments are off because they cut passwords.
LIB := libinih.a
SRCS := ini.c
HEADERS := ini.h
SEEN := INI_HANDLER_LINENO=1
DEFS := $(SEEN:%=-D%) -DINI_STOP_ON_FIRST_ERROR=0 -DINI_ALLOW_INLINE_COMMENTS=0 \
	-DINI_ALLOW_MULTILINE=0 -DINI_CALL_HANDLER_ON_NEW_SECTION=1 -DINI_USE_STACK=0 \
	-DINI_MAX_LINE=4096 -DINI_INITIAL_ALLOC=4096
include toolchain/deps/common.mk
