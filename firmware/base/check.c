#include "base/check.h"

#include <stdlib.h>

#include "base/buf.h"
#include "hal_log.h"

_Noreturn void check_failed(const char *file, int line, const char *what)
{
	char text[256];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_printf(&b, "check: %s is false at %s:%d -> aborting", what, file, line);
	hal_log_line(0, b.ptr, b.len);
	abort();
}
