# host under AddressSanitizer and UndefinedBehaviorSanitizer.
TC_CC := gcc
TC_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
TC_LDFLAGS := -fsanitize=address,undefined
# The sanitizers' code hides the ranges of values from these two; the host build has them.
TC_OWN := -Wno-format-truncation -Wno-format-overflow
