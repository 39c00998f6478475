ROOM := settings
SRCS := settings_broker_url.c settings_cross.c settings_file.c settings_ini.c settings_load.c settings_print.c \
	settings_table.c settings_value.c
