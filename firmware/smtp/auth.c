/* Capabilities and authentication. Pure. */
#include <string.h>

#include "base/err.h"
#include "smtp/parts.h"

static const char *const names[] = {
	[SMTP_AUTH_PLAIN] = "PLAIN",       [SMTP_AUTH_LOGIN] = "LOGIN",
	[SMTP_AUTH_CRAM_MD5] = "CRAM-MD5", [SMTP_AUTH_SCRAM_SHA_256] = "SCRAM-SHA-256",
	[SMTP_AUTH_XOAUTH2] = "XOAUTH2",
};

const char *smtp_auth_name(enum smtp_auth mechanism)
{
	return mechanism < sizeof(names) / sizeof(names[0]) && names[mechanism] != NULL ? names[mechanism]
											: "";
}

static unsigned mechanism_bit(struct str name)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] != NULL && str_eq_nocase(name, str_from(names[i]))) return 1u << i;
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
	} else if (str_eq_nocase(word, STR("CHUNKING"))) {
		caps->chunking = true;
	} else if (str_eq_nocase(word, STR("DSN"))) {
		caps->dsn = true;
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

static bool can_use(const struct smtp_caps *caps, enum smtp_auth mechanism, unsigned refused)
{
	return (caps->auth & ~refused & 1u << mechanism) != 0;
}

int smtp_auth_choose(const struct smtp_caps *caps, enum smtp_auth wanted, bool private, unsigned refused,
		     const struct smtp_login *login, enum smtp_auth *chosen)
{
	static const enum smtp_auth best[2][4] = {
		{SMTP_AUTH_SCRAM_SHA_256, SMTP_AUTH_CRAM_MD5, SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN},
		{SMTP_AUTH_SCRAM_SHA_256, SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN, SMTP_AUTH_CRAM_MD5},
	};

	*chosen = wanted;
	if (wanted != SMTP_AUTH_AUTO) return can_use(caps, wanted, refused) ? 0 : ERR_AUTH;
	for (size_t i = 0; i < sizeof(best[0]) / sizeof(best[0][0]); i++) {
		enum smtp_auth mechanism = best[private][i];

		if (!can_use(caps, mechanism, refused)) continue;
		if (mechanism == SMTP_AUTH_SCRAM_SHA_256 && !smtp_scram_can(login)) continue;
		*chosen = mechanism;
		return 0;
	}
	return ERR_AUTH;
}
