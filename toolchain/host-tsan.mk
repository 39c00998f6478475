# host under ThreadSanitizer.
TC_CC := gcc
TC_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
TC_LDFLAGS := -fsanitize=thread toolchain/tsan_suppressions.c
# The sanitizers' code hides the ranges of values from these two; the host build has them.
TC_OWN := -Wno-format-truncation -Wno-format-overflow
