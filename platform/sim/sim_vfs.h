/* SQLite's view of the world's disk: the VFS "postern". */
#ifndef POSTERN_PLATFORM_SIM_VFS_H
#define POSTERN_PLATFORM_SIM_VFS_H

/* Errors: ERR_NO_MEMORY. */
int sim_vfs_register(void);
void sim_vfs_unregister(void);

#endif
