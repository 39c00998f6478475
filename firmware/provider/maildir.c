#include "provider/maildir.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "hal_storage.h"

struct paths {
	char dir[HAL_PATH_MAX], tmp[HAL_PATH_MAX], new[HAL_PATH_MAX], cur[HAL_PATH_MAX];
	char tmp_file[HAL_PATH_MAX], new_file[HAL_PATH_MAX];
};

static int path_join(char out[HAL_PATH_MAX], const char *dir, const char *name, const char *flags)
{
	int n = snprintf(out, HAL_PATH_MAX, "%s/%s%s", dir, name, flags);

	return n < 0 || n >= HAL_PATH_MAX ? ERR_TOO_LARGE : 0;
}

static int paths_make(struct paths *p, const char *dir, const char *name)
{
	int rc = str_copy(p->dir, sizeof p->dir, str_from(dir));

	if (rc == 0) rc = path_join(p->tmp, dir, "tmp", "");
	if (rc == 0) rc = path_join(p->new, dir, "new", "");
	if (rc == 0) rc = path_join(p->cur, dir, "cur", "");
	if (rc == 0) rc = path_join(p->tmp_file, p->tmp, name, "");
	if (rc == 0) rc = path_join(p->new_file, p->new, name, "");
	return rc;
}

/* The name of path is safe in the directory above it. A directory that we may not even open was not made by us:
 * its names are safe already. */
static int dir_sync_parent(const char *path)
{
	char parent[HAL_PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (slash == path) return 0; /* directly in "/": made with the device's image */
	memcpy(parent, path, n);
	parent[n] = '\0';
	int rc = hal_storage_sync_dir(parent);
	return rc == ERR_DENIED ? 0 : rc;
}

/* Makes a directory with its parents; each name is synced in the directory above it. */
static int dir_make(const char *path)
{
	char part[HAL_PATH_MAX];
	int rc = 0;

	for (const char *slash = strchr(path + 1, '/'); rc >= 0; slash = strchr(slash + 1, '/')) {
		size_t n = slash ? (size_t)(slash - path) : strlen(path);

		memcpy(part, path, n);
		part[n] = '\0';
		rc = hal_storage_mkdir(part);
		if (rc >= 0) rc = dir_sync_parent(part);
		/* Somewhere above us we may enter but not write; what counts is whether the last one is
		 * there. */
		if (rc < 0 && slash) rc = 0;
		if (!slash) break;
	}
	return rc;
}

static int dirs_make(const struct paths *p)
{
	int rc = dir_make(p->dir);

	if (rc >= 0) rc = hal_storage_mkdir(p->tmp);
	if (rc >= 0) rc = hal_storage_mkdir(p->new);
	if (rc >= 0) rc = hal_storage_mkdir(p->cur);
	return rc < 0 ? rc : hal_storage_sync_dir(p->dir);
}

/* Whether it was delivered before: still new, or seen by a reader. */
static bool is_there(const struct paths *p, const char *name)
{
	static const char *const flags[] = {"", ":2,", ":2,S"};
	char path[HAL_PATH_MAX];

	if (hal_storage_size(p->new_file) >= 0) return true;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (path_join(path, p->cur, name, flags[i]) == 0 && hal_storage_size(path) >= 0) return true;
	return false;
}

static int write_line(struct hal_file *f, const char *field, struct str addr)
{
	char line[400];
	struct buf b;

	buf_init(&b, line, sizeof line);
	buf_printf(&b, "%s" STR_FMT "%s\n", field, STR_ARG(addr), field[0] == 'R' ? ">" : "");
	return b.cut ? ERR_TOO_LARGE : hal_file_write(f, b.ptr, b.len);
}

static int write_trace(struct hal_file *f, const struct maildir_mail *m)
{
	int rc = write_line(f, "Return-Path: <", m->mail->from);

	for (size_t i = 0; rc >= 0 && i < m->job->rcpt_count; i++)
		if (m->job->rcpts[i].kind != JOB_RCPT_BCC)
			rc = write_line(f, "Delivered-To: ", m->job->rcpts[i].address.addr);
	return rc;
}

/* *composing: whether a failure is the mail's. */
static int write_mail(struct hal_file *f, const struct smtp_body *body, bool *composing)
{
	char bytes[2048];
	int rewound = body->rewind(body->arg);

	*composing = rewound < 0;
	if (rewound < 0) return rewound;
	for (;;) {
		int n = body->read(body->arg, bytes, sizeof bytes);
		size_t kept = 0;
		int rc;

		*composing = n < 0;
		if (n <= 0) return n;
		/* A composed mail ends lines in CRLF only, so every CR belongs to a line end. */
		for (int i = 0; i < n; i++)
			if (bytes[i] != '\r') bytes[kept++] = bytes[i];
		rc = kept > 0 ? hal_file_write(f, bytes, kept) : 0;
		if (rc < 0) return rc;
	}
}

static int file_write(const struct paths *p, struct maildir_mail *m, bool *composing)
{
	struct hal_file f;
	int rc = hal_file_open(&f, p->tmp_file, HAL_FILE_CREATE);

	/* Of a delivery that a crash broke off: nobody else writes under this name. */
	if (rc == ERR_EXISTS) {
		rc = hal_storage_remove(p->tmp_file);
		if (rc >= 0) rc = hal_file_open(&f, p->tmp_file, HAL_FILE_CREATE);
	}
	if (rc < 0) return rc;
	rc = write_trace(&f, m);
	if (rc >= 0) rc = write_mail(&f, &m->mail->body, composing);
	if (rc >= 0) rc = hal_file_sync(&f);
	hal_file_close(&f);
	return rc;
}

static int deliver(const struct paths *p, struct maildir_mail *m, bool *composing)
{
	int rc = file_write(p, m, composing);

	if (rc >= 0) rc = hal_storage_rename(p->tmp_file, p->new_file);
	if (rc < 0) {
		(void)hal_storage_remove(p->tmp_file);
		return rc;
	}
	return hal_storage_sync_dir(p->new);
}

static void verdict_set(struct smtp_verdict *v, int rc, bool composing, const char *path, const char *name)
{
	struct buf b;

	*v = (struct smtp_verdict){.err = rc < 0 ? rc : 0};
	buf_init(&b, v->reply.text, sizeof v->reply.text);
	if (rc >= 0) {
		v->class = SMTP_SENT;
		buf_puts(&b, name);
	} else {
		v->class = composing && err_class(rc) != ERR_CLASS_WAIT ? SMTP_FAIL : SMTP_HOLD;
		buf_printf(&b, "%s: %s", path, err_text(rc));
	}
}

int maildir_deliver(const char *path, bool *made, struct maildir_mail *m)
{
	unsigned char hash[DIGEST_SHA256_BYTES];
	bool composing = false;
	struct digest d;
	struct paths p;
	struct buf b;
	int rc;

	digest_init(&d);
	digest_add(&d, m->message_id.ptr, m->message_id.len);
	digest_finish(&d, hash);
	buf_init(&b, m->name, sizeof m->name);
	buf_puts(&b, "M");
	digest_hex(&b, hash, 16);
	buf_puts(&b, ".postern");

	rc = paths_make(&p, path, m->name);
	if (rc >= 0 && !*made) {
		rc = dirs_make(&p);
		*made = rc >= 0;
	}
	if (rc >= 0) rc = is_there(&p, m->name) ? hal_storage_sync_dir(p.new) : deliver(&p, m, &composing);
	/* Somebody removed the directories under us: they are made again at the next try. */
	if (rc == ERR_NOT_FOUND && !composing) *made = false;
	verdict_set(&m->verdict, rc, composing, path, m->name);
	return m->verdict.err;
}
