#include "net/ca.h"

#include <ctype.h>
#include <mbedtls/base64.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "hal_storage.h"

#define MAGIC       "PSTRNCA1"
#define COUNT_AT    (8 + DIGEST_SHA256_BYTES)
#define INDEX_AT    (COUNT_AT + 4)
#define ENTRY_BYTES 12
#define COUNT_MAX   4096

/* ---- DER, as much as is needed to find a subject ---- */

/* Takes one element off the front of s. */
static bool der_take(struct str *s, unsigned char *tag, struct str *content)
{
	const unsigned char *p = (const unsigned char *)s->ptr;
	size_t head = 2, len;

	if (s->len < 2) return false;
	len = p[1];
	if (len >= 0x80) {
		size_t bytes = len & 0x7f;

		if (bytes == 0 || bytes > 3 || s->len < 2 + bytes) return false;
		len = 0;
		for (size_t i = 0; i < bytes; i++)
			len = len << 8 | p[2 + i];
		head += bytes;
	}
	if (s->len - head < len) return false;
	*tag = p[0];
	*content = (struct str){s->ptr + head, len};
	s->ptr += head + len;
	s->len -= head + len;
	return true;
}

static uint32_t hash_add(uint32_t h, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		h = (h ^ (c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c)) * 16777619u;
	}
	return h;
}

uint32_t ca_name_hash(struct str name)
{
	uint32_t h = 2166136261u;
	struct str sets, set, pairs, pair;
	unsigned char tag;

	if (!der_take(&name, &tag, &sets)) return h;
	while (der_take(&sets, &tag, &set)) {
		pairs = set;
		while (der_take(&pairs, &tag, &pair)) {
			struct str part;

			while (der_take(&pair, &tag, &part))
				h = hash_add(h, part);
		}
	}
	return h;
}

/* The subject of a certificate (RFC 5280 section 4.1), with its header. */
static bool der_subject(struct str cert, struct str *subject)
{
	struct str outer, tbs, part;
	unsigned char tag;
	int before;

	if (!der_take(&cert, &tag, &outer) || tag != 0x30 || !der_take(&outer, &tag, &tbs) || tag != 0x30)
		return false;
	/* version [0] is optional; then serial, algorithm, issuer, validity */
	before = tbs.len > 0 && (unsigned char)tbs.ptr[0] == 0xa0 ? 5 : 4;
	while (before-- > 0)
		if (!der_take(&tbs, &tag, &part)) return false;
	*subject = tbs;
	return der_take(&tbs, &tag, &part) && tag == 0x30 && (subject->len -= tbs.len) > 0;
}

/* ---- reading PEM and DER ---- */

static int read_der(struct ca_reader *r, unsigned char *der, size_t cap)
{
	struct str rest = {r->file.ptr + r->at, r->file.len - r->at}, left = rest, content;
	unsigned char tag;

	/* What follows a DER object and is none is the end. */
	if (!der_take(&left, &tag, &content) || tag != 0x30) return 0;
	size_t len = rest.len - left.len;
	r->at += len;
	if (len > cap) return ERR_TOO_LARGE;
	memcpy(der, rest.ptr, len);
	return (int)len;
}

static const char *find(struct str s, size_t from, struct str what)
{
	return from > s.len ? NULL : memmem(s.ptr + from, s.len - from, what.ptr, what.len);
}

int ca_read(struct ca_reader *r, char label[32], unsigned char *der, size_t cap)
{
	struct str begin = STR("-----BEGIN "), end = STR("-----END "), dashes = STR("-----");
	size_t len = 0;

	label[0] = '\0';
	if (r->file.len > 0 && r->file.ptr[0] == 0x30) return read_der(r, der, cap);
	const char *from = find(r->file, r->at, begin);
	if (from == NULL) return 0;
	from += begin.len;
	const char *body = find(r->file, (size_t)(from - r->file.ptr), dashes);
	const char *stop =
		body == NULL ? NULL : find(r->file, (size_t)(body - r->file.ptr) + dashes.len, end);
	if (stop == NULL) {
		r->at = r->file.len;
		return ERR_INVALID;
	}
	r->at = (size_t)(stop - r->file.ptr) + end.len;
	if (str_copy(label, 32, (struct str){from, (size_t)(body - from)}) < 0) return ERR_INVALID;
	body += dashes.len;
	while (body < stop && isspace((unsigned char)*body))
		body++;
	while (stop > body && isspace((unsigned char)stop[-1]))
		stop--;
	int rc = mbedtls_base64_decode(der, cap, &len, (const unsigned char *)body, (size_t)(stop - body));
	if (rc == MBEDTLS_ERR_BASE64_BUFFER_TOO_SMALL) return ERR_TOO_LARGE;
	return rc != 0 || len == 0 ? ERR_INVALID : (int)len;
}

/* The next certificate that has a subject; damaged ones and other objects are passed over. 0 at the end. */
static int read_cert(struct ca_reader *r, unsigned char *der, struct str *subject)
{
	char label[32];
	int rc;

	while ((rc = ca_read(r, label, der, CA_DER_MAX)) != 0) {
		bool cert = label[0] == '\0' || strcmp(label, "CERTIFICATE") == 0 ||
			    strcmp(label, "X509 CERTIFICATE") == 0;

		if (rc > 0 && cert && der_subject((struct str){(const char *)der, (size_t)rc}, subject))
			return rc;
	}
	return 0;
}

/* ---- bundles ---- */

static void put32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int write_index(struct hal_file *f, struct str source, uint32_t count)
{
	unsigned char der[CA_DER_MAX], entry[ENTRY_BYTES];
	struct ca_reader r = {source, 0};
	uint32_t offset = INDEX_AT + count * ENTRY_BYTES;
	struct str subject;
	int len, rc = 0;

	while (rc >= 0 && (len = read_cert(&r, der, &subject)) > 0) {
		put32(entry, ca_name_hash(subject));
		put32(entry + 4, offset);
		put32(entry + 8, (uint32_t)len);
		offset += (uint32_t)len;
		rc = hal_file_write(f, entry, sizeof(entry));
	}
	return rc;
}

static int write_certs(struct hal_file *f, struct str source, uint32_t *count)
{
	unsigned char der[CA_DER_MAX];
	struct ca_reader r = {source, 0};
	struct str subject;
	int len, rc = 0;

	/* Without a file: counts. */
	*count = 0;
	while (rc >= 0 && (len = read_cert(&r, der, &subject)) > 0) {
		++*count;
		rc = f == NULL ? 0 : hal_file_write(f, der, (size_t)len);
	}
	return rc;
}

static int write_bundle(struct hal_file *f, struct str source, const unsigned char *digest, uint32_t count)
{
	unsigned char head[INDEX_AT];

	memcpy(head, MAGIC, 8);
	memcpy(head + 8, digest, DIGEST_SHA256_BYTES);
	put32(head + COUNT_AT, count);
	int rc = hal_file_write(f, head, sizeof(head));
	if (rc >= 0) rc = write_index(f, source, count);
	if (rc >= 0) rc = write_certs(f, source, &count);
	if (rc >= 0) rc = hal_file_sync(f);
	return rc;
}

static int make_bundle(const char *name, struct str source, const unsigned char *digest)
{
	struct hal_file f;
	uint32_t count;

	write_certs(NULL, source, &count);
	if (count == 0 || count > COUNT_MAX) return ERR_INVALID;
	int rc = hal_storage_mkdir("ca");
	if (rc < 0) return rc;
	hal_storage_remove("ca/new");
	rc = hal_file_open(&f, "ca/new", HAL_FILE_CREATE);
	if (rc < 0) return rc;
	rc = write_bundle(&f, source, digest, count);
	hal_file_close(&f);
	if (rc >= 0) rc = hal_storage_rename("ca/new", name);
	if (rc >= 0) rc = hal_storage_sync_dir("ca");
	if (rc < 0) hal_storage_remove("ca/new");
	return rc;
}

/* Maps a bundle made from that source. Errors: ERR_NOT_FOUND also when it is another's, or damaged. */
static int map_bundle(struct ca_bundle *b, const char *name, const unsigned char *digest)
{
	int rc = hal_map_open(&b->map, name);

	if (rc < 0) return rc;
	const unsigned char *p = b->map.bytes;
	bool ok = b->map.len >= INDEX_AT && memcmp(p, MAGIC, 8) == 0 &&
		  memcmp(p + 8, digest, DIGEST_SHA256_BYTES) == 0;
	b->count = ok ? get32(p + COUNT_AT) : 0;
	ok = ok && b->count > 0 && b->count <= COUNT_MAX &&
	     b->map.len - INDEX_AT >= (size_t)b->count * ENTRY_BYTES;
	for (uint32_t i = 0; ok && i < b->count; i++) {
		const unsigned char *entry = p + INDEX_AT + i * ENTRY_BYTES;
		uint32_t offset = get32(entry + 4), len = get32(entry + 8);

		ok = offset <= b->map.len && len <= b->map.len - offset;
	}
	if (ok) return 0;
	hal_map_close(&b->map);
	return ERR_NOT_FOUND;
}

static int open_source(struct hal_map *m, const char **path)
{
	static const char *const system_paths[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, OpenWrt, Alpine, Arch */
		"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
		"/etc/ssl/ca-bundle.pem",             /* SUSE */
		"/etc/ssl/cert.pem",                  /* Alpine, BSD */
	};
	int rc = ERR_NOT_FOUND;

	if (*path != NULL && **path != '\0') return hal_map_open(m, *path);
	for (size_t i = 0; rc == ERR_NOT_FOUND && i < sizeof(system_paths) / sizeof(system_paths[0]); i++) {
		*path = system_paths[i];
		rc = hal_map_open(m, *path);
	}
	if (rc == ERR_NOT_FOUND) *path = system_paths[0];
	return rc;
}

void ca_digest(struct digest *d, const char *path)
{
	struct hal_map source;
	int rc = open_source(&source, &path);

	digest_add_field(d, rc < 0 ? str_from(err_text(rc))
				   : (struct str){(const char *)source.bytes, source.len});
	if (rc >= 0) hal_map_close(&source);
}

int ca_open(struct ca_bundle *b, const char *path, struct buf *why)
{
	unsigned char digest[DIGEST_SHA256_BYTES], path_digest[DIGEST_SHA256_BYTES];
	char name[40];
	struct hal_map source;
	struct digest d;
	struct buf n;

	int rc = open_source(&source, &path);
	if (rc < 0) {
		buf_printf(why, "CA file %s: %s", path, err_text(rc));
		return rc;
	}
	digest_init(&d);
	digest_add(&d, source.bytes, source.len);
	digest_finish(&d, digest);
	digest_init(&d);
	digest_add(&d, path, strlen(path));
	digest_finish(&d, path_digest);
	buf_init(&n, name, sizeof(name));
	buf_puts(&n, "ca/");
	digest_hex(&n, path_digest, 8);
	buf_puts(&n, ".der");
	rc = map_bundle(b, name, digest);
	if (rc < 0) {
		rc = make_bundle(name, (struct str){(const char *)source.bytes, source.len}, digest);
		if (rc == ERR_INVALID)
			buf_printf(why, "CA file %s: no certificate in it", path);
		else if (rc < 0)
			buf_printf(why, "bundle of CA file %s: %s", path, err_text(rc));
		else
			rc = map_bundle(b, name, digest);
	}
	hal_map_close(&source);
	return rc;
}

void ca_close(struct ca_bundle *b)
{
	if (b->map.bytes != NULL) hal_map_close(&b->map);
	b->map.bytes = NULL;
}

bool ca_next(const struct ca_bundle *b, uint32_t hash, uint32_t *at, struct str *der)
{
	while (*at < b->count) {
		const unsigned char *entry = b->map.bytes + INDEX_AT + (size_t)(*at)++ * ENTRY_BYTES;

		if (get32(entry) == hash) {
			*der = (struct str){(const char *)b->map.bytes + get32(entry + 4), get32(entry + 8)};
			return true;
		}
	}
	return false;
}
