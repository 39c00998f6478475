/* CA files: PEM or DER in, an indexed bundle of DER certificates out. Of this room only.
 *
 * A bundle lives in DATA_DIR/ca, one for each CA file, named by the file's path; it carries the digest of
 * what it was made from, and is made anew when that has changed. It is mapped while in use: what is looked up
 * costs page cache, not heap. All numbers in it are big-endian: "PSTRNCA1", SHA-256 of the source, u32 count,
 *	count times {u32 subject hash, u32 offset, u32 length}, certificates
 */
#ifndef POSTERN_NET_CA_H
#define POSTERN_NET_CA_H

#include "base/buf.h"
#include "base/digest.h"
#include "hal_map.h"

#define CA_DER_MAX 6144 /* bytes of one certificate or key in a file of ours */

struct ca_bundle {
	struct hal_map map;
	uint32_t count;
};

/* path NULL or "": the system's bundle. One thread at a time. Errors: as net_tls_config_init. */
int ca_open(struct ca_bundle *b, const char *path, struct buf *why);
void ca_close(struct ca_bundle *b);
/* Adds the bytes of that CA file. */
void ca_digest(struct digest *d, const char *path);

/* The next certificate from *at (0 at first) whose subject has that hash; false when there is none. */
bool ca_next(const struct ca_bundle *b, uint32_t hash, uint32_t *at, struct str *der);

/* Hash of an X.501 Name (DER, with its header), over what comparing names looks at: not the kind of the
 * strings, not the case of letters (RFC 5280 section 7.1). Equal names have equal hashes, not always the
 * other way round. */
uint32_t ca_name_hash(struct str name);

/* Certificates and keys of a PEM or DER file, one after the other. */
struct ca_reader {
	struct str file;
	size_t at;
};
/* The next object: its length in der, and what it is ("CERTIFICATE"; "" in a DER file). 0 at the end.
 * Errors: ERR_INVALID (this one is damaged or encrypted: the next call goes on behind it), ERR_TOO_LARGE
 * (likewise). */
int ca_read(struct ca_reader *r, char label[32], unsigned char *der, size_t cap);

#endif
