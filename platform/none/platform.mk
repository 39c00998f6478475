# What a device does not have. A platform takes single files of it into its own list.
SRCS := none_led.c none_watchdog.c
