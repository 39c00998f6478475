# Linux: glibc or musl. Paths are relative to this file.
SRCS := main.c linux_cancel.c linux_clock.c linux_dns.c linux_entropy.c linux_errno.c linux_ident.c linux_led.c linux_lifecycle.c \
	linux_link.c linux_local.c linux_log.c linux_map.c linux_notify.c linux_process.c linux_race.c linux_storage.c \
	linux_stream.c linux_thread.c linux_vfs.c linux_watchdog.c \
	../common/common_addr.c ../common/common_dns.c ../common/common_path.c
