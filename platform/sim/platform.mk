# The deterministic world, for tests. Paths are relative to this file.
SRCS := sim_world.c sim_sched.c sim_clock.c sim_net.c sim_race.c sim_dns.c sim_fs.c sim_map.c sim_storage.c sim_vfs.c sim_alloc.c sim_device.c \
	sim_process.c sim_front.c \
	../common/common_addr.c ../common/common_dns.c ../common/common_path.c
