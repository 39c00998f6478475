# How SQLite is built. The flags are given to the generators of the amalgamation (parser, keyword
# table) as well as to the compiler, which is what SQLite asks for with SQLITE_OMIT_*.
#
# THREADSAFE=0: SQLite takes no lock at all, not even in its allocator. The store owns the one
# connection; every sqlite3_* call of the process is made under its mutex or on its thread.
# No date functions: time comes from the HAL, as a number, never from SQL.
# Left in on purpose: WAL, blobs, backup, auto_vacuum, ALTER TABLE, foreign keys, RETURNING (which
# SQLite builds out of triggers, so these stay too) and the progress handler.
SQLITE_FLAGS := \
	-DSQLITE_OS_UNIX=1 \
	-DSQLITE_THREADSAFE=0 \
	-DSQLITE_DEFAULT_MEMSTATUS=1 \
	-DSQLITE_DQS=0 \
	-DSQLITE_LIKE_DOESNT_MATCH_BLOBS \
	-DSQLITE_TEMP_STORE=2 \
	-DSQLITE_DEFAULT_SYNCHRONOUS=2 \
	-DSQLITE_DEFAULT_WAL_SYNCHRONOUS=2 \
	-DSQLITE_DEFAULT_CACHE_SIZE=-200 \
	-DSQLITE_DEFAULT_FILE_PERMISSIONS=0600 \
	-DSQLITE_MAX_MMAP_SIZE=0 \
	-DSQLITE_STRICT_SUBTYPE=1 \
	-DSQLITE_UNTESTABLE \
	-DSQLITE_OMIT_AUTHORIZATION \
	-DSQLITE_OMIT_COMPILEOPTION_DIAGS \
	-DSQLITE_OMIT_COMPLETE \
	-DSQLITE_OMIT_DATETIME_FUNCS \
	-DSQLITE_OMIT_DEPRECATED \
	-DSQLITE_OMIT_DESERIALIZE \
	-DSQLITE_OMIT_EXPLAIN \
	-DSQLITE_OMIT_GET_TABLE \
	-DSQLITE_OMIT_JSON \
	-DSQLITE_OMIT_LOAD_EXTENSION \
	-DSQLITE_OMIT_SHARED_CACHE \
	-DSQLITE_OMIT_TCL_VARIABLE \
	-DSQLITE_OMIT_TRACE \
	-DSQLITE_OMIT_UTF16 \
	-DSQLITE_OMIT_WINDOWFUNC \
	-DHAVE_FDATASYNC=1 \
	-DHAVE_ISNAN=1 \
	-DHAVE_USLEEP=1 \
	-DUSE_PREAD=1
