# The machine at hand: Debian's gcc and glibc, dynamic. For development and `make demo`.
TC_CC := gcc
TC_CFLAGS := -O2 -g -fPIE -fstack-protector-strong
TC_LDFLAGS := -pie
