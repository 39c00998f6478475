# host under ThreadSanitizer.
TC_CC := gcc
TC_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
TC_LDFLAGS := -fsanitize=thread toolchain/tsan_suppressions.c
