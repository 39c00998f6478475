/* The drop directory: jobs written by a command while no gateway runs, taken in at the next start. A name is
 * unique and sorts by time; a file that is not complete has a name beginning with a dot. */
#include <stdio.h>
#include <string.h>

#include "hal_entropy.h"
#include "store/store_internal.h"

#define DROP     "drop"
#define REFUSED  "drop/refused"
#define NAME_CAP 128
#define SUFFIX   (sizeof ".json" - 1)

static int make_dirs(void)
{
	int rc = hal_storage_mkdir(DROP);

	if (rc == 0) rc = hal_storage_mkdir(REFUSED);
	return rc;
}

/* A new file with these bytes, synced under its name. */
static int put_file(const char *dir, const char *name, struct str text)
{
	char temp[NAME_CAP], path[NAME_CAP];
	struct hal_file f;

	snprintf(temp, sizeof temp, "%s/.%s", dir, name);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int rc = hal_file_open(&f, temp, HAL_FILE_CREATE);
	if (rc == ERR_EXISTS && hal_storage_remove(temp) == 0) rc = hal_file_open(&f, temp, HAL_FILE_CREATE);
	if (rc < 0) return rc;
	rc = hal_file_write(&f, text.ptr, text.len);
	if (rc >= 0) rc = hal_file_sync(&f);
	hal_file_close(&f);
	if (rc >= 0) rc = hal_storage_rename(temp, path);
	if (rc >= 0) return hal_storage_sync_dir(dir);
	hal_storage_remove(temp);
	return rc;
}

#define DIGITS "0123456789"

/* Monotonic time orders what one boot with an unset clock writes; chance keeps two writers apart. */
static int make_name(char *name, size_t cap)
{
	unsigned char chance[6];
	int rc = hal_entropy_fill(chance, sizeof chance);

	if (rc < 0) return rc;
	snprintf(name, cap, "%013lld-%012lld-%02x%02x%02x%02x%02x%02x.json",
		 (long long)hal_clock_wall_ms(NULL), (long long)hal_clock_mono_ms(), chance[0], chance[1],
		 chance[2], chance[3], chance[4], chance[5]);
	return 0;
}

static bool is_own_name(const char *name)
{
	size_t wall = strspn(name, DIGITS), mono = 0;

	if (wall >= 13 && name[wall] == '-') mono = strspn(name + wall + 1, DIGITS);
	if (mono < 12) return false;
	name += wall + 1 + mono;
	return *name == '-' && strspn(name + 1, DIGITS "abcdef") == 12 && strcmp(name + 13, ".json") == 0;
}

int store_drop_put(struct str src, char *name, size_t name_cap)
{
	char own[64];
	int rc = make_dirs();

	if (rc == 0) rc = hal_storage_sync_dir(DROP);
	if (rc == 0) rc = hal_storage_sync_dir("");
	if (rc == 0) rc = make_name(own, sizeof own);
	if (rc == 0) rc = put_file(DROP, own, src);
	if (rc < 0) return rc;
	return str_copy(name, name_cap, str_from(own));
}

/* ---- taking in ---- */

struct next_name {
	const char *after; /* names up to this one were looked at */
	bool foreign;      /* only names that others have given */
	char name[NAME_CAP / 2];
};

static int find_next(void *arg, const char *name)
{
	struct next_name *n = arg;
	size_t len = strlen(name);

	if (name[0] == '.' || len <= SUFFIX || len >= sizeof n->name ||
	    strcmp(name + len - SUFFIX, ".json") != 0)
		return 0;
	if (n->foreign && is_own_name(name)) return 0;
	if (strcmp(name, n->after) <= 0 || (n->name[0] && strcmp(name, n->name) >= 0)) return 0;
	memcpy(n->name, name, len + 1);
	return 0;
}

/* Its bytes. Errors: ERR_TOO_LARGE, those of hal_storage. */
static int read_file(const char *path, char *buffer, size_t cap, size_t *len)
{
	struct hal_file f;
	int rc = hal_file_open(&f, path, HAL_FILE_READ);

	*len = 0;
	if (rc < 0) return rc;
	while (*len < cap) {
		rc = hal_file_read(&f, (int64_t)*len, buffer + *len, cap - *len);
		if (rc <= 0) break;
		*len += (size_t)rc;
	}
	hal_file_close(&f);
	return rc < 0 ? rc : *len == cap ? ERR_TOO_LARGE : 0;
}

static int refuse(const char *name, const char *reason)
{
	char from[NAME_CAP], to[NAME_CAP], why[NAME_CAP];

	snprintf(from, sizeof from, DROP "/%s", name);
	snprintf(to, sizeof to, REFUSED "/%s", name);
	snprintf(why, sizeof why, "%s.reason", name);
	log_warn("store", "dropped job refused -> kept in drop/refused", LOG_TEXT("name", name),
		 LOG_TEXT("reason", reason));
	int rc = put_file(REFUSED, why, str_from(reason));
	if (rc < 0) return rc;
	rc = hal_storage_rename(from, to);
	if (rc == 0) rc = hal_storage_sync_dir(REFUSED);
	return rc < 0 ? rc : hal_storage_sync_dir(DROP);
}

static void note_left(struct store_drop_count *count, const char *name, int rc, const char *reason)
{
	if (count->left++ > 0) return;
	count->left_rc = rc;
	str_copy(count->left_name, sizeof count->left_name, str_from(name));
	snprintf(count->left_reason, sizeof count->left_reason, "%s", reason[0] ? reason : err_text(rc));
}

static void take_one(const char *name, char *buffer, size_t cap,
		     int (*fn)(void *, struct str, char *, size_t, char *, size_t), void *arg,
		     struct store_drop_count *count)
{
	char path[NAME_CAP], reason[512] = "";
	size_t len;
	bool no = false;

	snprintf(path, sizeof path, DROP "/%s", name);
	int rc = read_file(path, buffer, cap, &len);
	if (rc == ERR_TOO_LARGE) snprintf(reason, sizeof reason, "larger than a job may be");
	if (rc == 0)
		rc = fn(arg, (struct str){name, strlen(name) - SUFFIX}, buffer, len, reason, sizeof reason);
	if (rc >= 0) {
		rc = hal_storage_remove(path);
		if (rc == 0) rc = hal_storage_sync_dir(DROP);
		if (rc < 0) snprintf(reason, sizeof reason, "stored, but the file cannot be removed");
	} else if (err_class(rc) == ERR_CLASS_GIVE_UP) {
		no = true;
		rc = refuse(name, reason[0] ? reason : err_text(rc));
	}
	if (rc < 0)
		note_left(count, name, rc, reason);
	else
		no ? count->refused++ : count->taken++;
}

/* A name that was given by hand may be given again tomorrow, to another job. */
static int rename_foreign(void)
{
	char own[64], from[NAME_CAP], to[NAME_CAP];
	struct next_name n;
	bool renamed = false;
	int rc;

	while (true) {
		n = (struct next_name){.after = "", .foreign = true};
		rc = hal_storage_list(DROP, find_next, &n);
		if (rc < 0 || !n.name[0]) break;
		rc = make_name(own, sizeof own);
		if (rc < 0) return rc;
		snprintf(from, sizeof from, DROP "/%s", n.name);
		snprintf(to, sizeof to, DROP "/%s", own);
		rc = hal_storage_rename(from, to);
		if (rc < 0) return rc;
		log_info("store", "file in the drop directory -> given a name of its own",
			 LOG_TEXT("name", n.name), LOG_TEXT("own", own));
		renamed = true;
	}
	return rc < 0 || !renamed ? rc : hal_storage_sync_dir(DROP);
}

int store_drop_take(char *buffer, size_t cap,
		    int (*fn)(void *arg, struct str name, char *text, size_t len, char *reason,
			      size_t reason_cap),
		    void *arg, struct store_drop_count *count)
{
	struct next_name n;
	char after[sizeof n.name] = "";
	int rc;

	memset(count, 0, sizeof *count);
	if (cap <= 8) return ERR_INVALID;
	rc = rename_foreign();
	if (rc < 0) return rc == ERR_NOT_FOUND ? 0 : rc; /* nobody dropped anything yet */
	while (true) {
		n = (struct next_name){.after = after};
		rc = hal_storage_list(DROP, find_next, &n);
		if (rc < 0) return rc;
		if (!n.name[0]) return 0;
		rc = make_dirs();
		/* A decoder wants some bytes behind the text (JSON_PADDING). */
		if (rc == 0)
			take_one(n.name, buffer, cap - 8, fn, arg, count);
		else
			note_left(count, n.name, rc, "");
		memcpy(after, n.name, sizeof after);
	}
}
