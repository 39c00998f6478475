/* Judging the peer's certificate. */
#include <mbedtls/platform.h>
#include <string.h>

#include "net/tls_internal.h"

/* mbedTLS asks for the CAs that may have issued child; it frees what it is given. */
int judge_issuers(void *arg, const mbedtls_x509_crt *child, mbedtls_x509_crt **out)
{
	const struct config *c = arg;
	uint32_t hash = ca_name_hash((struct str){(const char *)child->issuer_raw.p, child->issuer_raw.len});
	uint32_t at = 0;
	struct str der;

	*out = NULL;
	while (ca_next(&c->ca, hash, &at, &der)) {
		if (*out == NULL) {
			*out = mbedtls_calloc(1, sizeof(**out));
			if (*out == NULL) return MBEDTLS_ERR_X509_ALLOC_FAILED;
			mbedtls_x509_crt_init(*out);
		}
		/* A CA that we cannot parse is one that we do not trust. */
		mbedtls_x509_crt_parse_der_nocopy(*out, (const unsigned char *)der.ptr, der.len);
	}
	if (*out != NULL && (*out)->version == 0) {
		mbedtls_x509_crt_free(*out);
		mbedtls_free(*out);
		*out = NULL;
	}
	return 0;
}

/* A certificate that stands in the CA file as it is may be used by the server itself: self-signed ones are
 * trusted so, also when they are no CA. */
static bool is_pinned(const struct config *c, const mbedtls_x509_crt *crt)
{
	uint32_t hash = ca_name_hash((struct str){(const char *)crt->subject_raw.p, crt->subject_raw.len});
	uint32_t at = 0;
	struct str der;

	while (ca_next(&c->ca, hash, &at, &der))
		if (str_eq(der, (struct str){(const char *)crt->raw.p, crt->raw.len})) return true;
	return false;
}

static void say(struct session *t, const char *text)
{
	const char *whose = t->host != NULL ? "server" : "client";

	if (t->why->len == 0)
		buf_printf(t->why, "the %s's certificate was refused: ", whose);
	else
		buf_puts(t->why, "; ");
	buf_puts(t->why, text);
}

static void say_date(struct session *t, const char *text, const mbedtls_x509_time *at)
{
	say(t, text);
	buf_printf(t->why, " %04d-%02d-%02d", at->year, at->mon, at->day);
}

static void say_name(struct session *t, const mbedtls_x509_name *dn, const char *text)
{
	char name[160];
	int len = mbedtls_x509_dn_gets(name, sizeof(name), dn);

	say(t, text);
	if (len > 0)
		buf_escaped(t->why, (struct str){name, (size_t)len}, 100);
	else
		buf_puts(t->why, "(name too long)");
}

static void say_mismatch(struct session *t, const mbedtls_x509_crt *crt)
{
	const mbedtls_x509_sequence *alt = &crt->subject_alt_names;
	int shown = 0;

	for (; alt != NULL && shown < 3; alt = alt->next) {
		/* dNSName, RFC 5280 section 4.2.1.6 */
		if (alt->buf.p == NULL || (alt->buf.tag & 0x1f) != 2) continue;
		if (shown++ == 0)
			say(t, "it is for ");
		else
			buf_puts(t->why, ", ");
		buf_escaped(t->why, (struct str){(const char *)alt->buf.p, alt->buf.len}, 64);
	}
	if (shown == 0) say_name(t, &crt->subject, "it is for ");
	buf_printf(t->why, ", expected %s", t->host);
}

static void say_flags(struct session *t, const mbedtls_x509_crt *crt, uint32_t flags)
{
	if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) say_date(t, "it expired on", &crt->valid_to);
	if ((flags & MBEDTLS_X509_BADCERT_FUTURE) != 0)
		say_date(t, "it is not valid before", &crt->valid_from);
	if ((flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) say_mismatch(t, crt);
	if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) say_name(t, &crt->issuer, "unknown issuer ");
	if ((flags &
	     (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY)) != 0)
		say(t, "its key or signature is too weak");
	if ((flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE)) != 0)
		say(t, t->host != NULL ? "it is not meant for servers" : "it is not meant for clients");
}

/* iPAddress, RFC 5280 section 4.2.1.6: the bytes of the address (RFC 6125 leaves the common name out). */
static bool is_for_address(const mbedtls_x509_crt *crt, const struct hal_addr *want)
{
	size_t len = want->family == HAL_FAMILY_IP4 ? 4 : 16;

	for (const mbedtls_x509_sequence *alt = &crt->subject_alt_names; alt != NULL; alt = alt->next)
		if (alt->buf.p != NULL && (alt->buf.tag & 0x1f) == 7 && alt->buf.len == len &&
		    memcmp(alt->buf.p, want->bytes, len) == 0)
			return true;
	return false;
}

int judge_certificate(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct session *t = arg;

	if (!t->clock_set) *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_FUTURE;
	if (depth == 0 && (*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0 && is_pinned(t->config, crt))
		*flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_NOT_TRUSTED;
	if (depth == 0 && t->address.family != HAL_FAMILY_NONE && !is_for_address(crt, &t->address))
		*flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
	if (t->config->verify) say_flags(t, crt, *flags);
	return 0;
}
