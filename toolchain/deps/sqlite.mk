# SQLite, as config/sqlite.mk says, out of the amalgamation that deps/sqlite3c.mk made.
include config/sqlite.mk
LIB := libsqlite3.a
SRCS := sqlite3.c
HEADERS := sqlite3.h
DEFS := $(SQLITE_FLAGS)
include toolchain/deps/common.mk
