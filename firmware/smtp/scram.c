/* SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages and what is computed of them. Pure. */
#include <string.h>

#include "base/base64.h"
#include "base/digest.h"
#include "base/err.h"
#include "smtp/parts.h"

#define SALT_MAX         256
#define PIECE_ITERATIONS 2000 /* between two looks at the clock: some 30 ms of a small processor */

static int refuse(struct buf *why, const char *text)
{
	buf_puts(why, text);
	return ERR_AUTH;
}

/* RFC 4013 section 2.3, as far as ASCII goes. */
static bool can_prepare(const char *text)
{
	struct str s = str_from(text);

	return s.len > 0 && !str_has_ctl(s) && memchr(s.ptr, '\t', s.len) == NULL && str_is_utf8(s);
}

bool smtp_scram_can(const struct smtp_login *login)
{
	return can_prepare(login->username) && can_prepare(login->password);
}

/* client-first-message-bare. RFC 5802 section 5.1: ',' and '=' of a name are =2C and =3D. */
static void first_bare(struct buf *out, const struct smtp_exchange *x, const struct smtp_login *login)
{
	buf_puts(out, "n=");
	for (const char *c = login->username; *c != '\0'; c++) {
		if (*c == ',')
			buf_puts(out, "=2C");
		else if (*c == '=')
			buf_puts(out, "=3D");
		else
			buf_add(out, c, 1);
	}
	buf_printf(out, ",r=%s", x->nonce);
}

void smtp_scram_first(struct buf *out, const struct smtp_exchange *x, const struct smtp_login *login)
{
	buf_puts(out, "n,,");
	first_bare(out, x, login);
}

/* The value of the attribute that rest begins with, when that is name; rest then goes on behind it. Absent
 * otherwise. */
static struct str take(struct str *rest, char name)
{
	if (rest->len < 2 || rest->ptr[0] != name || rest->ptr[1] != '=') return (struct str){NULL, 0};
	struct str value = {rest->ptr + 2, rest->len - 2};
	const char *comma = memchr(value.ptr, ',', value.len);
	size_t len = comma == NULL ? value.len : (size_t)(comma - value.ptr);
	size_t used = comma == NULL ? value.len : len + 1;

	*rest = (struct str){value.ptr + used, value.len - used};
	return (struct str){value.ptr, len};
}

struct server_first {
	struct str nonce, salt; /* salt: decoded */
	uint32_t iterations;
	char salt_bytes[SALT_MAX];
};

static bool nonce_goes_on(struct str nonce, const char *ours)
{
	size_t len = strlen(ours);

	if (nonce.len <= len || memcmp(nonce.ptr, ours, len) != 0) return false;
	for (size_t i = len; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e) return false;
	return true;
}

static int read_iterations(struct server_first *f, struct str count, struct buf *why)
{
	uint64_t n = 0;
	int rc = str_to_u64(count, SMTP_SCRAM_ITERATIONS_MAX, &n);

	if (rc == ERR_INVALID) return refuse(why, "SCRAM: the server's iteration count is no number");
	if (rc < 0) {
		buf_printf(why, "SCRAM: the server asks for more than %d iterations",
			   SMTP_SCRAM_ITERATIONS_MAX);
		return ERR_AUTH;
	}
	if (n < SMTP_SCRAM_ITERATIONS_MIN) {
		buf_printf(why,
			   "SCRAM: the server asks for fewer than %d iterations, so that guessing is easy",
			   SMTP_SCRAM_ITERATIONS_MIN);
		return ERR_AUTH;
	}
	f->iterations = (uint32_t)n;
	return 0;
}

/* server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions] */
static int read_first(struct server_first *f, const struct smtp_exchange *x, struct str text, struct buf *why)
{
	struct str error = take(&text, 'e');

	if (error.ptr != NULL) {
		buf_puts(why, "SCRAM: the server refuses: ");
		buf_escaped(why, error, 60);
		return ERR_AUTH;
	}
	if (text.len > 0 && text.ptr[0] == 'm')
		return refuse(why, "SCRAM: the server asks for an extension that is not known here");
	f->nonce = take(&text, 'r');
	struct str salt = take(&text, 's'), count = take(&text, 'i');
	if (f->nonce.ptr == NULL || salt.ptr == NULL || count.ptr == NULL)
		return refuse(why,
			      "SCRAM: nonce, salt or iteration count is missing in what the server says");
	if (!nonce_goes_on(f->nonce, x->nonce))
		return refuse(why, "SCRAM: the server's nonce does not go on from ours");
	int len = base64_decode(salt, f->salt_bytes, sizeof(f->salt_bytes));
	if (len <= 0) return refuse(why, "SCRAM: the server's salt is empty, too long or not base64");
	f->salt = (struct str){f->salt_bytes, (size_t)len};
	return read_iterations(f, count, why);
}

static int salted_password(unsigned char out[DIGEST_SHA256_BYTES], const struct server_first *f,
			   const struct smtp_login *login)
{
	struct digest_pbkdf2 p;
	bool stopped = false;

	digest_pbkdf2_init(&p, str_from(login->password), f->salt, f->iterations);
	while (!stopped && !digest_pbkdf2_run(&p, PIECE_ITERATIONS))
		stopped = login->go_on != NULL && !login->go_on(login->arg);
	digest_pbkdf2_finish(&p, out);
	return stopped ? ERR_TIMEOUT : 0;
}

static void hmac(const unsigned char key[DIGEST_SHA256_BYTES], struct str text,
		 unsigned char out[DIGEST_SHA256_BYTES])
{
	struct digest_hmac h;

	digest_hmac_init(&h, key, DIGEST_SHA256_BYTES);
	digest_hmac_add(&h, text.ptr, text.len);
	digest_hmac_finish(&h, out);
}

/* AuthMessage := client-first-message-bare "," server-first-message "," client-final-message-without-proof */
static void sign(const unsigned char key[DIGEST_SHA256_BYTES], struct str client_first,
		 struct str server_first, struct str client_final, unsigned char out[DIGEST_SHA256_BYTES])
{
	struct digest_hmac h;

	digest_hmac_init(&h, key, DIGEST_SHA256_BYTES);
	digest_hmac_add(&h, client_first.ptr, client_first.len);
	digest_hmac_add(&h, ",", 1);
	digest_hmac_add(&h, server_first.ptr, server_first.len);
	digest_hmac_add(&h, ",", 1);
	digest_hmac_add(&h, client_final.ptr, client_final.len);
	digest_hmac_finish(&h, out);
}

/* RFC 5802 section 3, from SaltedPassword on: the proof, and the signature that the server must show. */
static void prove(unsigned char proof[DIGEST_SHA256_BYTES], unsigned char signature[DIGEST_SHA256_BYTES],
		  const unsigned char salted[DIGEST_SHA256_BYTES], struct str client_first,
		  struct str server_first, struct str client_final)
{
	unsigned char client_key[DIGEST_SHA256_BYTES], other_key[DIGEST_SHA256_BYTES];
	struct digest d;

	hmac(salted, STR("Client Key"), client_key);
	digest_init(&d);
	digest_add(&d, client_key, sizeof(client_key));
	digest_finish(&d, other_key); /* StoredKey */
	sign(other_key, client_first, server_first, client_final, proof);
	for (size_t i = 0; i < sizeof(client_key); i++)
		proof[i] ^= client_key[i];
	hmac(salted, STR("Server Key"), other_key);
	sign(other_key, client_first, server_first, client_final, signature);
	explicit_bzero(client_key, sizeof(client_key));
	explicit_bzero(other_key, sizeof(other_key));
}

int smtp_scram_final(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		     struct str server_first, struct buf *why)
{
	unsigned char salted[DIGEST_SHA256_BYTES], proof[DIGEST_SHA256_BYTES];
	char bare_text[1024];
	struct server_first f;
	struct buf bare;
	size_t from = out->len;
	int rc = read_first(&f, x, server_first, why);

	if (rc == 0) rc = salted_password(salted, &f, login);
	if (rc < 0) return rc;
	buf_init(&bare, bare_text, sizeof(bare_text));
	first_bare(&bare, x, login);
	buf_puts(out, "c=biws,r="); /* base64 of the header "n,," */
	buf_str(out, f.nonce);
	prove(proof, x->signature, salted, buf_view(&bare), server_first,
	      (struct str){out->ptr + from, out->len - from});
	buf_puts(out, ",p=");
	buf_base64(out, proof, sizeof(proof));
	explicit_bzero(salted, sizeof(salted));
	return bare.cut || out->cut ? ERR_TOO_LARGE : 0;
}

int smtp_scram_verify(const struct smtp_exchange *x, struct str server_final, struct buf *why)
{
	unsigned char signature[DIGEST_SHA256_BYTES];
	unsigned different = 0;
	struct str error = take(&server_final, 'e');

	if (error.ptr != NULL) {
		buf_puts(why, "SCRAM: the server refuses: ");
		buf_escaped(why, error, 60);
		return ERR_AUTH;
	}
	struct str verifier = take(&server_final, 'v');
	if (verifier.ptr == NULL ||
	    base64_decode(verifier, signature, sizeof(signature)) != sizeof(signature))
		return refuse(why, "SCRAM: the server does not prove that it knows the password");
	/* All bytes, wherever they differ. */
	for (size_t i = 0; i < sizeof(signature); i++)
		different |= signature[i] ^ x->signature[i];
	if (different != 0)
		return refuse(why, "SCRAM: the server's proof is wrong: it does not know the password");
	return 0;
}
