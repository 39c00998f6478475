#include <errno.h>

#include "base/err.h"
#include "linux/linux.h"

int linux_err_file(int e)
{
	switch (e) {
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
	case ENXIO: return ERR_NOT_FOUND;
	case EEXIST: return ERR_EXISTS;
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return ERR_NO_SPACE;
	case EROFS: return ERR_READ_ONLY;
	case EACCES:
	case EPERM: return ERR_DENIED;
	case ENOMEM:
	case EMFILE:
	case ENFILE: return ERR_NO_MEMORY;
	case EBUSY:
	case EWOULDBLOCK: return ERR_BUSY;
	case EINVAL:
	case ENAMETOOLONG:
	case EISDIR:
	case ENOTEMPTY:
	case ELOOP:
	case EXDEV: return ERR_INVALID;
	case EOPNOTSUPP:
	case ENOSYS:
	case ENOTTY: return ERR_UNSUPPORTED;
	default: return ERR_IO;
	}
}

int linux_err_net(int e)
{
	switch (e) {
	case ECONNREFUSED: return ERR_REFUSED;
	case EPIPE:
	case ENOTCONN:
	case ESHUTDOWN: return ERR_CLOSED;
	case ETIMEDOUT: return ERR_TIMEOUT;
	case ENETDOWN: return ERR_LINK_DOWN;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EACCES: /* a firewall's "prohibited" */
	case EPERM:
	case EINVAL: return ERR_UNREACHABLE;
	case ENOMEM:
	case ENOBUFS:
	case EMFILE:
	case ENFILE: return ERR_NO_MEMORY;
	default: return ERR_RESET;
	}
}
