# cmocka, for the tests. Its config header is written here: every target is Linux.
LIB := libcmocka.a
SRCS := src/cmocka.c
HEADERS := include/cmocka.h include/cmocka_pbc.h
DEFS := -I$(OUT)/gen -I$(OUT)/include -I$(SRC)/include -DHAVE_CONFIG_H -D_GNU_SOURCE
PREREQS := $(OUT)/gen/config.h
include toolchain/deps/common.mk

$(OUT)/gen/config.h:
	mkdir -p $(@D) $(OUT)/include
	{ for h in ASSERT INTTYPES MALLOC MEMORY SETJMP SIGNAL STDARG STDDEF STDINT STDIO STDLIB STRINGS STRING \
		SYS_STAT SYS_TYPES TIME UNISTD; do echo "#define HAVE_$${h}_H 1"; done; \
	  for f in CALLOC EXIT FPRINTF FREE LONGJMP SIGLONGJMP MALLOC MEMCPY MEMSET PRINTF SETJMP SIGNAL STRSIGNAL \
		SNPRINTF STRCMP STRCPY VSNPRINTF CLOCK_GETTIME CLOCK_REALTIME STRUCT_TIMESPEC UINTPTR_T STRERROR_R \
		GCC_THREAD_LOCAL_STORAGE; do echo "#define HAVE_$$f 1"; done; \
	  echo '#define PACKAGE "cmocka"'; echo '#define VERSION "$(VERSION)"'; } >$@
	! test -f $(SRC)/include/cmocka_version.h.cmake || sed 's/@[A-Z_]*MAJOR@/$(word 1,$(subst ., ,$(VERSION)))/; s/@[A-Z_]*MINOR@/$(word 2,$(subst ., ,$(VERSION)))/; s/@[A-Z_]*\(PATCH\|MICRO\)@/$(word 3,$(subst ., ,$(VERSION)))/; s/@[A-Z_]*VERSION@/$(VERSION)/; s/@[A-Z_]*@//' \
		$(SRC)/include/cmocka_version.h.cmake >$(OUT)/include/cmocka_version.h
