# SQLite's amalgamation, out of its source tree, for every target alike. The tree brings the small
# Tcl interpreter that its generators need.
include config/sqlite.mk
MAKEOVERRIDES :=

all:
	mkdir -p $(OUT)/work
	cd $(OUT)/work && env -u MAKEFLAGS -u CFLAGS -u LDFLAGS CC=$(BUILD_CC) $(SRC)/configure --disable-tcl --disable-readline
	cd $(OUT)/work && env -u MAKEFLAGS -u CFLAGS -u LDFLAGS make sqlite3.c OPT_FEATURE_FLAGS= OPTS='$(SQLITE_FLAGS)'
	cp $(OUT)/work/sqlite3.c $(OUT)/work/sqlite3.h $(OUT)/
	rm -rf $(OUT)/work
.PHONY: all
