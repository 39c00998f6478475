#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "common/common.h"
#include "hal_storage.h"
#include "sim_fs.h"

#define BLOCK   4096
#define GRANULE 512

struct bytes {
	unsigned char *ptr;
	size_t len, cap;
};

struct sim_node {
	unsigned refs; /* names now, names safe, changes, handles */
	bool dir;
	struct bytes now, safe;
	struct sim_locks locks;
};

struct name {
	char path[HAL_PATH_MAX];
	struct sim_node *node;
};

struct names {
	struct name *list;
	size_t count, cap;
};

enum change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME };

struct change {
	struct change *next;
	enum change_kind kind;
	uint64_t number;
	struct sim_node *node;
	int64_t at; /* offset, or the new size */
	size_t len;
	char path[HAL_PATH_MAX], to[HAL_PATH_MAX];
	unsigned char data[];
};

static struct names names_now, names_safe;
static struct change *changes, **changes_end = &changes;
static uint64_t changes_made;
static bool loaded;
static bool cut_pending; /* the op under way is the one at which the power goes */

uint64_t sim_fs_written_bytes, sim_fs_syncs;

/* ---- memory of the host ---- */

static void *must(void *p)
{
	if (p == NULL) sim_misuse("the host has no memory");
	return p;
}

static void bytes_size(struct bytes *b, size_t len)
{
	if (len > b->cap) {
		size_t cap = len + len / 2 + 256;
		b->ptr = must(realloc(b->ptr, cap));
		b->cap = cap;
	}
	if (len > b->len) memset(b->ptr + b->len, 0, len - b->len);
	b->len = len;
}

static void bytes_put(struct bytes *b, size_t at, const void *src, size_t len)
{
	if (at + len > b->len) bytes_size(b, at + len);
	if (len > 0) memcpy(b->ptr + at, src, len);
}

static struct sim_node *node_new(bool dir)
{
	struct sim_node *n = must(calloc(1, sizeof *n));

	n->dir = dir;
	return n;
}

void sim_fs_hold(struct sim_node *n)
{
	n->refs++;
}

void sim_fs_drop(struct sim_node *n)
{
	if (--n->refs > 0) return;
	free(n->now.ptr);
	free(n->safe.ptr);
	free(n);
}

/* ---- names ---- */

static struct name *names_find(const struct names *t, const char *path)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->list[i].path, path) == 0) return &t->list[i];
	return NULL;
}

static void names_remove(struct names *t, const char *path)
{
	struct name *n = names_find(t, path);

	if (n == NULL) return;
	struct sim_node *node = n->node;
	*n = t->list[--t->count];
	sim_fs_drop(node);
}

static void names_put(struct names *t, const char *path, struct sim_node *node)
{
	struct name *n = names_find(t, path);

	sim_fs_hold(node);
	if (n != NULL) {
		sim_fs_drop(n->node);
		n->node = node;
		return;
	}
	if (t->count == t->cap) {
		t->cap = t->cap * 2 + 16;
		t->list = must(realloc(t->list, t->cap * sizeof *t->list));
	}
	n = &t->list[t->count++];
	memset(n, 0, sizeof *n);
	strcpy(n->path, path);
	n->node = node;
}

static void names_clear(struct names *t)
{
	while (t->count > 0)
		sim_fs_drop(t->list[--t->count].node);
	free(t->list);
	memset(t, 0, sizeof *t);
}

static bool dir_exists(const struct names *t, const char *path)
{
	char dir[HAL_PATH_MAX];

	common_path_dir(path, dir);
	if (dir[0] == '\0' || strcmp(dir, "/") == 0 || strcmp(dir, "/tmp") == 0) return true;
	const struct name *n = names_find(t, dir);
	return n != NULL && n->node->dir;
}

void sim_fs_path(const char *path, char out[HAL_PATH_MAX])
{
	const char *root = hal_storage_root();
	size_t n = strlen(root);

	if (strncmp(path, root, n) == 0 && path[n] == '/') path += n + 1;
	snprintf(out, HAL_PATH_MAX, "%s", path);
}

struct sim_node *sim_fs_find(const char *path)
{
	const struct name *n = names_find(&names_now, path);

	return n == NULL ? NULL : n->node;
}

bool sim_fs_is_dir(const struct sim_node *n)
{
	return n->dir;
}

const char *sim_fs_name(size_t i)
{
	return i < names_now.count ? names_now.list[i].path : NULL;
}

struct sim_locks *sim_fs_locks(struct sim_node *n)
{
	return &n->locks;
}

/* ---- changes ---- */

static void change_add(enum change_kind kind, struct sim_node *node, const char *path, const char *to,
		       int64_t at, const void *data, size_t len)
{
	struct change *c = must(calloc(1, sizeof *c + len));

	c->kind = kind;
	c->number = ++changes_made;
	c->node = node;
	c->at = at;
	c->len = len;
	if (path != NULL) strcpy(c->path, path);
	if (to != NULL) strcpy(c->to, to);
	if (len > 0) memcpy(c->data, data, len);
	sim_fs_hold(node);
	*changes_end = c;
	changes_end = &c->next;
}

static void change_apply(const struct change *c)
{
	switch (c->kind) {
	case CHANGE_WRITE: bytes_put(&c->node->safe, (size_t)c->at, c->data, c->len); break;
	case CHANGE_TRUNCATE: bytes_size(&c->node->safe, (size_t)c->at); break;
	case CHANGE_LINK: names_put(&names_safe, c->path, c->node); break;
	case CHANGE_UNLINK: names_remove(&names_safe, c->path); break;
	case CHANGE_RENAME:
		names_put(&names_safe, c->to, c->node);
		names_remove(&names_safe, c->path);
		break;
	}
}

/* A write of which only some granules reached the medium; those at its ends may have spoilt their
 * neighbours. */
static void change_tear(const struct change *c)
{
	struct sim_rng *rng = &sim_world.rng_disk;
	struct bytes *safe = &c->node->safe;
	size_t at = (size_t)c->at, end = at + c->len;

	if (sim_rng_percent(rng, 50)) bytes_size(safe, end > safe->len ? end : safe->len);
	for (size_t g = at / GRANULE * GRANULE; g < end; g += GRANULE) {
		size_t from = g < at ? at : g, to = g + GRANULE < end ? g + GRANULE : end;
		unsigned luck = (unsigned)sim_rng_below(rng, 8);

		if (luck >= 4) {
			bytes_put(safe, from, c->data + (from - at), to - from);
		} else if (luck == 0 && to - from < GRANULE) {
			for (size_t i = g; i < g + GRANULE && i < safe->len; i++)
				safe->ptr[i] = (unsigned char)sim_rng_next(rng);
		}
	}
}

static bool change_is_data(const struct change *c)
{
	return c->kind == CHANGE_WRITE || c->kind == CHANGE_TRUNCATE;
}

static bool change_is_in_dir(const struct change *c, const char *dir)
{
	char of[HAL_PATH_MAX];

	if (change_is_data(c)) return false;
	common_path_dir(c->kind == CHANGE_RENAME ? c->to : c->path, of);
	return strcmp(of, dir) == 0;
}

/* Takes out the changes up to a number that pick chooses; keep_percent of them become safe first. */
static void changes_settle(bool (*pick)(const struct change *c, const void *arg), const void *arg,
			   uint64_t last, unsigned keep_percent)
{
	struct change **link = &changes;

	while (*link != NULL) {
		struct change *c = *link;

		if (c->number > last || !pick(c, arg)) {
			link = &c->next;
			continue;
		}
		if (keep_percent == 100 || sim_rng_percent(&sim_world.rng_disk, keep_percent))
			change_apply(c);
		*link = c->next;
		sim_fs_drop(c->node);
		free(c);
	}
	changes_end = link;
}

static bool pick_node(const struct change *c, const void *arg)
{
	return change_is_data(c) && c->node == arg;
}

static bool pick_dir(const struct change *c, const void *arg)
{
	return change_is_in_dir(c, arg);
}

size_t sim_disk_unsynced(void)
{
	size_t n = 0;

	for (const struct change *c = changes; c != NULL; c = c->next)
		n++;
	return n;
}

/* ---- calls ---- */

#define CALLS_SYNC (SIM_DISK_SYNC | SIM_DISK_SYNC_DIR)
#define CALLS_CHANGING                                                                                       \
	(CALLS_SYNC | SIM_DISK_WRITE | SIM_DISK_TRUNCATE | SIM_DISK_CREATE | SIM_DISK_REMOVE |               \
	 SIM_DISK_RENAME | SIM_DISK_MKDIR)

int sim_fs_begin(unsigned call)
{
	struct sim_world *w = &sim_world;
	struct sim_disk_faults *f = &w->faults.disk;

	if (call & CALLS_CHANGING) {
		sim_preempt();
		w->disk_ops++;
		sim_trace("disk", call, w->disk_ops);
		cut_pending = f->cut_at_op != 0 && w->disk_ops == f->cut_at_op;
		if (cut_pending && (call & CALLS_SYNC)) sim_stop(SIM_POWER_CUT);
	} else {
		sim_enter();
	}
	if (call & f->fail_calls) {
		w->disk_calls++;
		if (f->fail_at != 0 &&
		    (f->fail_on ? w->disk_calls >= f->fail_at : w->disk_calls == f->fail_at)) {
			sim_trace("disk-fault", call, w->disk_calls);
			if (cut_pending) sim_stop(SIM_POWER_CUT);
			return f->fail_err;
		}
	}
	if (f->read_only && (call & CALLS_CHANGING) && !(call & CALLS_SYNC)) return ERR_READ_ONLY;
	return 0;
}

/* A change is made; has the power gone meanwhile? */
static int done(void)
{
	if (cut_pending) sim_stop(SIM_POWER_CUT);
	return 0;
}

static size_t blocks(size_t bytes)
{
	return (bytes + BLOCK - 1) / BLOCK;
}

int64_t sim_fs_free_bytes(void)
{
	int64_t cap = sim_world.faults.disk.capacity_bytes;
	size_t used = 0;

	if (cap == 0) cap = SIM_DISK_BYTES;
	for (size_t i = 0; i < names_now.count; i++)
		used += blocks(names_now.list[i].node->now.len);
	cap -= (int64_t)(used * BLOCK);
	return cap > 0 ? cap : 0;
}

int sim_fs_create(const char *path, bool dir, struct sim_node **out)
{
	int rc = sim_fs_begin(dir ? SIM_DISK_MKDIR : SIM_DISK_CREATE);

	if (rc < 0) return rc;
	if (!dir_exists(&names_now, path)) return ERR_NOT_FOUND;
	if (sim_fs_find(path) != NULL) return ERR_EXISTS;
	if (sim_fs_free_bytes() < BLOCK) return ERR_NO_SPACE;
	struct sim_node *n = node_new(dir);
	names_put(&names_now, path, n);
	change_add(CHANGE_LINK, n, path, NULL, 0, NULL, 0);
	if (out != NULL) *out = n;
	return done();
}

int sim_fs_write(struct sim_node *n, int64_t at, const void *bytes, size_t len)
{
	size_t end = (size_t)at + len;
	int rc = sim_fs_begin(SIM_DISK_WRITE);

	if (rc < 0) return rc;
	if (end > n->now.len) {
		int64_t more = (int64_t)(blocks(end) - blocks(n->now.len)) * BLOCK;
		if (more > sim_fs_free_bytes()) return ERR_NO_SPACE;
	}
	bytes_put(&n->now, (size_t)at, bytes, len);
	change_add(CHANGE_WRITE, n, NULL, NULL, at, bytes, len);
	sim_fs_written_bytes += len;
	return done();
}

int sim_fs_truncate(struct sim_node *n, int64_t len)
{
	int rc = sim_fs_begin(SIM_DISK_TRUNCATE);

	if (rc < 0) return rc;
	int64_t more = ((int64_t)blocks((size_t)len) - (int64_t)blocks(n->now.len)) * BLOCK;
	if (more > sim_fs_free_bytes()) return ERR_NO_SPACE;
	bytes_size(&n->now, (size_t)len);
	change_add(CHANGE_TRUNCATE, n, NULL, NULL, len, NULL, 0);
	return done();
}

/* A sync takes time and lets others run; what they write meanwhile is not part of it. Returns the last change
 * that is. */
static uint64_t sync_time(void)
{
	uint64_t last = changes_made;

	if (sim_world.faults.disk.sync_ms > 0)
		hal_clock_sleep_until(sim_world.now_ms + sim_world.faults.disk.sync_ms);
	return last;
}

int sim_fs_sync(struct sim_node *n)
{
	int rc = sim_fs_begin(SIM_DISK_SYNC);

	sim_fs_syncs++;
	if (rc < 0) {
		changes_settle(pick_node, n, UINT64_MAX, 50);
		return rc;
	}
	changes_settle(pick_node, n, sync_time(), 100);
	return 0;
}

int sim_fs_remove(const char *path)
{
	int rc = sim_fs_begin(SIM_DISK_REMOVE);
	struct sim_node *n = sim_fs_find(path);

	if (rc < 0) return rc;
	if (n == NULL) return ERR_NOT_FOUND;
	change_add(CHANGE_UNLINK, n, path, NULL, 0, NULL, 0);
	names_remove(&names_now, path);
	return done();
}

int sim_fs_rename(const char *from, const char *to)
{
	int rc = sim_fs_begin(SIM_DISK_RENAME);
	struct sim_node *n = sim_fs_find(from);

	if (rc < 0) return rc;
	if (n == NULL || !dir_exists(&names_now, to)) return ERR_NOT_FOUND;
	if (n->dir) return ERR_INVALID;
	if (strcmp(from, to) == 0) return 0;
	change_add(CHANGE_RENAME, n, from, to, 0, NULL, 0);
	names_put(&names_now, to, n);
	names_remove(&names_now, from);
	return done();
}

int sim_fs_sync_dir(const char *path)
{
	const struct sim_node *n = sim_fs_find(path);
	int rc = sim_fs_begin(SIM_DISK_SYNC_DIR);

	if (rc < 0) return rc;
	if (path[0] != '\0' && strcmp(path, "/") != 0 && (n == NULL || !n->dir)) return ERR_NOT_FOUND;
	sim_fs_syncs++;
	changes_settle(pick_dir, path, sync_time(), 100);
	return 0;
}

size_t sim_fs_read(const struct sim_node *n, int64_t at, void *bytes, size_t cap)
{
	if (at < 0 || (uint64_t)at >= n->now.len) return 0;
	size_t have = n->now.len - (size_t)at;
	if (have > cap) have = cap;
	memcpy(bytes, n->now.ptr + at, have);
	return have;
}

int64_t sim_fs_size(const struct sim_node *n)
{
	return (int64_t)n->now.len;
}

/* ---- the power goes; the disk between boots ---- */

/* Afterwards "now" is what is on the medium. */
void sim_fs_damage(enum sim_damage damage)
{
	if (damage == SIM_DAMAGE_ANY)
		damage = (enum sim_damage)sim_rng_below(&sim_world.rng_disk, SIM_DAMAGE_ANY);
	for (const struct change *c = changes; c != NULL; c = c->next) {
		bool keep = damage == SIM_DAMAGE_KEEP;

		if (damage == SIM_DAMAGE_REORDER || damage == SIM_DAMAGE_TEAR)
			keep = sim_rng_percent(&sim_world.rng_disk, 50);
		if (damage == SIM_DAMAGE_TEAR && c->kind == CHANGE_WRITE)
			change_tear(c);
		else if (keep)
			change_apply(c);
	}
	while (changes != NULL) {
		struct change *c = changes;
		changes = c->next;
		sim_fs_drop(c->node);
		free(c);
	}
	changes_end = &changes;
	names_clear(&names_now);
	for (size_t i = 0; i < names_safe.count; i++) {
		const struct name *n = &names_safe.list[i];
		/* A file whose directory's name is lost is lost with it. */
		if (!dir_exists(&names_safe, n->path)) continue;
		names_put(&names_now, n->path, n->node);
		bytes_size(&n->node->now, 0);
		bytes_put(&n->node->now, 0, n->node->safe.ptr, n->node->safe.len);
	}
}

struct image_entry {
	size_t path_len, len;
	bool dir;
};

/* Writes "now" into the memory that lasts. */
void sim_fs_save(void)
{
	struct sim_lasting *l = sim_lasting();
	size_t at = 0;

	if (!loaded) return;
	for (size_t i = 0; i < names_now.count; i++) {
		const struct name *n = &names_now.list[i];
		struct image_entry e = {strlen(n->path), n->node->now.len, n->node->dir};

		if (at + sizeof e + e.path_len + e.len > SIM_IMAGE_BYTES)
			sim_misuse("the disk is larger than its image");
		memcpy(l->image + at, &e, sizeof e);
		at += sizeof e;
		memcpy(l->image + at, n->path, e.path_len);
		at += e.path_len;
		if (e.len > 0) memcpy(l->image + at, n->node->now.ptr, e.len);
		at += e.len;
	}
	l->image_len = at;
}

void sim_fs_load(void)
{
	const struct sim_lasting *l = sim_lasting();

	sim_fs_forget();
	for (size_t at = 0; at < l->image_len;) {
		struct image_entry e;
		char path[HAL_PATH_MAX] = "";

		memcpy(&e, l->image + at, sizeof e);
		at += sizeof e;
		memcpy(path, l->image + at, e.path_len);
		at += e.path_len;
		struct sim_node *n = node_new(e.dir);
		names_put(&names_now, path, n);
		names_put(&names_safe, path, n);
		bytes_put(&n->now, 0, l->image + at, e.len);
		bytes_put(&n->safe, 0, l->image + at, e.len);
		at += e.len;
	}
	loaded = true;
}

void sim_fs_forget(void)
{
	while (changes != NULL) {
		struct change *c = changes;
		changes = c->next;
		sim_fs_drop(c->node);
		free(c);
	}
	changes_end = &changes;
	names_clear(&names_now);
	names_clear(&names_safe);
	sim_fs_written_bytes = sim_fs_syncs = 0;
	cut_pending = false;
	loaded = false;
}

/* ---- for tests ---- */

/* Between boots the disk is the image; inside one it is this memory. */
static void peek_begin(void)
{
	if (!sim_world.up) sim_fs_load();
}

static void peek_end(bool changed)
{
	if (sim_world.up) return;
	if (changed) sim_fs_save();
	sim_fs_forget();
}

int64_t sim_disk_read(const char *path, int64_t at, void *bytes, size_t cap)
{
	peek_begin();
	const struct sim_node *n = sim_fs_find(path);
	int64_t got = n == NULL ? -1 : (int64_t)sim_fs_read(n, at, bytes, cap);
	peek_end(false);
	return got;
}

int64_t sim_disk_size(const char *path)
{
	peek_begin();
	const struct sim_node *n = sim_fs_find(path);
	int64_t size = n == NULL ? -1 : sim_fs_size(n);
	peek_end(false);
	return size;
}

void sim_disk_write(const char *path, int64_t at, const void *bytes, size_t len)
{
	peek_begin();
	struct sim_node *n = sim_fs_find(path);
	if (n == NULL) {
		n = node_new(false);
		names_put(&names_now, path, n);
	}
	names_put(&names_safe, path, n);
	bytes_put(&n->now, (size_t)at, bytes, len);
	bytes_put(&n->safe, (size_t)at, bytes, len);
	peek_end(true);
}

void sim_disk_remove(const char *path)
{
	peek_begin();
	names_remove(&names_now, path);
	names_remove(&names_safe, path);
	peek_end(true);
}
