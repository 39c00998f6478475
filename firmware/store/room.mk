ROOM := store
SRCS := store.c store_queue.c store_schema.c store_sql.c store_job.c store_src.c store_end.c store_read.c store_tick.c store_space.c store_salvage.c \
	store_pages.c store_drop.c
