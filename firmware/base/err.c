#include "base/err.h"

struct err_row {
	const char *name;
	const char *text;
	enum err_class class;
};

static const struct err_row err_rows[] = {
	{"OK", "no error", ERR_CLASS_NONE},
#define ERR(name, class, text) {#name, text, ERR_CLASS_##class},
#include "base/err.def"
#undef ERR
};

static const struct err_row *err_row(int err)
{
	static const struct err_row unknown = {"UNKNOWN", "unknown error", ERR_CLASS_RESTART};

	if (err >= 0) return &err_rows[0];
	return err > -ERR_INDEX_COUNT ? &err_rows[-err] : &unknown;
}

const char *err_name(int err)
{
	return err_row(err)->name;
}

const char *err_text(int err)
{
	return err_row(err)->text;
}

enum err_class err_class(int err)
{
	return err_row(err)->class;
}
