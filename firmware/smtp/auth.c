/* Capabilities and authentication. Pure. */
#include <string.h>

#include "base/err.h"
#include "smtp/parts.h"

#define SECRET_BYTES_MAX 2048
#define LINE_BYTES_MAX                                                                                       \
	510 /* RFC 4954 section 4: an initial response must fit a command line (RFC 5321 4.5.3.1.4) */

static unsigned mechanism_bit(struct str name)
{
	static const struct {
		struct str name;
		enum smtp_auth mechanism;
	} known[] = {
		{{"PLAIN", 5}, SMTP_AUTH_PLAIN},       {{"LOGIN", 5}, SMTP_AUTH_LOGIN},
		{{"CRAM-MD5", 8}, SMTP_AUTH_CRAM_MD5}, {{"SCRAM-SHA-256", 13}, SMTP_AUTH_SCRAM_SHA_256},
		{{"XOAUTH2", 7}, SMTP_AUTH_XOAUTH2},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_nocase(name, known[i].name)) return 1u << known[i].mechanism;
	return 0;
}

static struct str next_word(struct str *rest)
{
	*rest = str_trim(*rest);
	struct str word = {rest->ptr, 0};

	while (word.len < rest->len && word.ptr[word.len] != ' ' && word.ptr[word.len] != '\t')
		word.len++;
	rest->ptr += word.len;
	rest->len -= word.len;
	return word;
}

void smtp_caps_line(struct smtp_caps *caps, struct str line)
{
	struct str rest = line;
	struct str word = next_word(&rest);
	uint64_t n;

	/* "AUTH=LOGIN PLAIN": how it stood in a draft, and how some servers still say it. */
	if (str_starts_nocase(word, STR("AUTH="))) {
		caps->auth |= mechanism_bit((struct str){word.ptr + 5, word.len - 5});
		word.len = 4;
	}
	if (str_eq_nocase(word, STR("AUTH"))) {
		while ((word = next_word(&rest)).len > 0)
			caps->auth |= mechanism_bit(word);
	} else if (str_eq_nocase(word, STR("STARTTLS"))) {
		caps->starttls = true;
	} else if (str_eq_nocase(word, STR("PIPELINING"))) {
		caps->pipelining = true;
	} else if (str_eq_nocase(word, STR("8BITMIME"))) {
		caps->eightbit = true;
	} else if (str_eq_nocase(word, STR("SMTPUTF8"))) {
		caps->smtputf8 = true;
	} else if (str_eq_nocase(word, STR("ENHANCEDSTATUSCODES"))) {
		caps->enhanced = true;
	} else if (str_eq_nocase(word, STR("SIZE"))) {
		/* RFC 1870 section 4: absent or 0 means no fixed limit; a number too large to hold is none
		 * either. */
		caps->size = true;
		caps->size_max = str_to_u64(next_word(&rest), INT64_MAX, &n) < 0 ? 0 : (int64_t)n;
	}
}

int smtp_auth_choose(const struct smtp_caps *caps, enum smtp_auth wanted, enum smtp_auth *chosen)
{
	static const enum smtp_auth best[] = {SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN};

	for (size_t i = 0; i < sizeof(best) / sizeof(best[0]); i++) {
		if (wanted != SMTP_AUTH_AUTO && wanted != best[i]) continue;
		if ((caps->auth & 1u << best[i]) != 0) {
			*chosen = best[i];
			return 0;
		}
	}
	return wanted > SMTP_AUTH_LOGIN ? ERR_UNSUPPORTED : ERR_AUTH;
}

/* RFC 4616 section 2: NUL authcid NUL passwd, no authzid. */
static int add_plain(struct buf *out, const char *username, const char *password)
{
	char raw[SECRET_BYTES_MAX];
	struct buf b;

	buf_init(&b, raw, sizeof(raw));
	buf_add(&b, "", 1);
	buf_puts(&b, username);
	buf_add(&b, "", 1);
	buf_puts(&b, password);
	bool cut = b.cut;
	if (!cut) buf_base64(out, b.ptr, b.len);
	explicit_bzero(raw, sizeof(raw));
	return cut ? ERR_TOO_LARGE : 0;
}

static int plain_line(struct buf *out, unsigned step, const char *username, const char *password)
{
	bool initial =
		strlen("AUTH PLAIN ") + (strlen(username) + strlen(password) + 4) / 3 * 4 <= LINE_BYTES_MAX;

	if (step == 0) buf_puts(out, "AUTH PLAIN");
	if (step == 0 && initial) buf_puts(out, " ");
	if (initial ? step == 0 : step == 1) return add_plain(out, username, password);
	return step == 0 ? 0 : ERR_PROTOCOL;
}

int smtp_auth_line(struct buf *out, enum smtp_auth mechanism, unsigned step, const char *username,
		   const char *password, size_t *shown)
{
	int rc = 0;

	*shown = step > 0 ? 0 : mechanism == SMTP_AUTH_PLAIN ? strlen("AUTH PLAIN") : strlen("AUTH LOGIN");
	if (mechanism == SMTP_AUTH_PLAIN)
		rc = plain_line(out, step, username, password);
	else if (step == 0)
		buf_puts(out, "AUTH LOGIN");
	else if (step == 1)
		buf_base64(out, username, strlen(username));
	else if (step == 2)
		buf_base64(out, password, strlen(password));
	else
		rc = ERR_PROTOCOL;
	if (rc == 0 && out->cut) rc = ERR_TOO_LARGE;
	return rc;
}

static bool has(struct str line, struct str part)
{
	return part.len >= 4 && line.len >= part.len &&
	       memmem(line.ptr, line.len, part.ptr, part.len) != NULL;
}

bool smtp_tells_secret(struct str line, const char *username, const char *password)
{
	char form[SECRET_BYTES_MAX];
	struct buf b;

	if (password == NULL || password[0] == '\0') return false;
	bool found = has(line, str_from(password));
	/* Without the last four bytes: how the end is encoded depends on what a server put behind it. */
	for (int plain = 0; plain < 2 && !found; plain++) {
		buf_init(&b, form, sizeof(form));
		if (plain)
			add_plain(&b, username == NULL ? "" : username, password);
		else
			buf_base64(&b, password, strlen(password));
		struct str sent = buf_view(&b);
		found = has(line, sent.len > 8 ? (struct str){sent.ptr, sent.len - 4} : sent);
	}
	explicit_bzero(form, sizeof(form));
	return found;
}
