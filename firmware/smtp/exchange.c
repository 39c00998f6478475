/* Authentication: what each mechanism says, line by line. Pure. */
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "smtp/parts.h"

#define RESPONSE_MAX 4608 /* a name, a token of 4096 bytes, and what a mechanism puts around them */
/* RFC 4954 section 4: an initial response must fit a command line (RFC 5321 section 4.5.3.1.4). */
#define LINE_MAX 510

/* ---- responses, without base64 ---- */

static int refuse(struct buf *why, const char *text)
{
	buf_puts(why, text);
	return ERR_AUTH;
}

/* RFC 4616 section 2: NUL authcid NUL passwd, no authzid. */
static int plain(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login)
{
	buf_add(out, "", 1);
	buf_puts(out, login->username);
	buf_add(out, "", 1);
	buf_puts(out, login->password);
	x->complete = true;
	return 0;
}

static int login_words(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login)
{
	buf_puts(out, x->said == 0 ? login->username : login->password);
	x->complete = x->said == 1;
	return 0;
}

/* RFC 2195 section 2: the challenge is text (a Message-ID); the response is the name and the digest in hex. */
static int cram(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		struct str challenge, struct buf *why)
{
	unsigned char digest[DIGEST_MD5_BYTES];

	/* The digest of nothing, or of what a server should never ask, is not given away. */
	if (challenge.len == 0) return refuse(why, "the server's CRAM-MD5 challenge is empty");
	if (str_has_ctl(challenge)) return refuse(why, "the server's CRAM-MD5 challenge is no text");
	digest_hmac_md5(str_from(login->password), challenge, digest);
	buf_printf(out, "%s ", login->username);
	digest_hex(out, digest, sizeof(digest));
	x->complete = true;
	return 0;
}

static int scram(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		 struct str challenge, struct buf *why)
{
	if (x->said == 0) {
		if (!smtp_scram_can(login))
			return refuse(why,
				      "username or password has control bytes, or is not UTF-8: no SCRAM");
		smtp_scram_first(out, x, login);
		return 0;
	}
	if (x->said == 1) return smtp_scram_final(out, x, login, challenge, why);
	int rc = smtp_scram_verify(x, challenge, why);
	x->complete = rc == 0;
	return rc;
}

/* The refusal of a token comes as a challenge: JSON with a status (Google's and Microsoft's protocol, later RFC 7628
 * section 3.2.2). Its answer is empty; then the reply with the code comes. */
static void keep_status(struct smtp_exchange *x, struct str challenge)
{
	char text[SMTP_CHALLENGE_MAX + JSON_PADDING];
	uint64_t memory[256];
	struct arena arena;
	const struct json *root;
	struct json_error error;

	if (challenge.len + JSON_PADDING > sizeof(text)) return;
	memcpy(text, challenge.ptr, challenge.len);
	arena_init(&arena, memory, sizeof(memory));
	if (json_parse(&arena, text, challenge.len, &root, &error) < 0 || json_type(root) != JSON_OBJECT)
		return;
	const struct json *status = json_get(root, "status");
	if (status == NULL || json_type(status) != JSON_STRING) return;
	struct str s = json_str(status);
	for (size_t i = 0; i < s.len; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", s.ptr[i]) ==
		    NULL)
			return;
	if (str_copy(x->status, sizeof(x->status), s) < 0) x->status[0] = '\0';
}

static int xoauth2(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		   struct str challenge)
{
	if (x->said == 0)
		buf_printf(out, "user=%s\001auth=Bearer %s\001\001", login->username, login->password);
	else
		keep_status(x, challenge);
	x->complete = true;
	return 0;
}

static int respond(struct buf *out, struct smtp_exchange *x, const struct smtp_login *login,
		   struct str challenge, struct buf *why)
{
	static const unsigned responses[] = {
		[SMTP_AUTH_PLAIN] = 1,         [SMTP_AUTH_LOGIN] = 2,   [SMTP_AUTH_CRAM_MD5] = 1,
		[SMTP_AUTH_SCRAM_SHA_256] = 3, [SMTP_AUTH_XOAUTH2] = 2,
	};
	int rc;

	if (x->said >= responses[x->mechanism]) return refuse(why, "the server's AUTH exchange does not end");
	switch (x->mechanism) {
	case SMTP_AUTH_PLAIN: rc = plain(out, x, login); break;
	case SMTP_AUTH_LOGIN: rc = login_words(out, x, login); break;
	case SMTP_AUTH_CRAM_MD5: rc = cram(out, x, login, challenge, why); break;
	case SMTP_AUTH_SCRAM_SHA_256: rc = scram(out, x, login, challenge, why); break;
	case SMTP_AUTH_XOAUTH2: rc = xoauth2(out, x, login, challenge); break;
	default: rc = refuse(why, "no AUTH mechanism"); break;
	}
	x->said++;
	return rc < 0 ? rc : out->cut ? ERR_TOO_LARGE : 0;
}

/* ---- lines ---- */

static bool reads_challenge(const struct smtp_exchange *x)
{
	return x->mechanism == SMTP_AUTH_CRAM_MD5 ||
	       (x->mechanism == SMTP_AUTH_SCRAM_SHA_256 && x->said > 0) ||
	       (x->mechanism == SMTP_AUTH_XOAUTH2 && x->said > 0);
}

static bool has_initial(enum smtp_auth mechanism)
{
	return mechanism == SMTP_AUTH_PLAIN || mechanism == SMTP_AUTH_SCRAM_SHA_256 ||
	       mechanism == SMTP_AUTH_XOAUTH2;
}

/* The command, with the first response where the mechanism begins with the client and the line holds it. */
static int first_line(struct smtp_exchange *x, const struct smtp_login *login, struct buf *response,
		      struct smtp_auth_line *out)
{
	x->begun = true;
	buf_printf(&out->line, "AUTH %s", smtp_auth_name(x->mechanism));
	out->shown = out->line.len;
	if (!has_initial(x->mechanism)) return 0;
	struct smtp_exchange before = *x;
	int rc = respond(response, x, login, STR(""), out->why);
	if (rc < 0) return rc;
	if (out->line.len + 1 + (response->len + 2) / 3 * 4 > LINE_MAX) {
		*x = before; /* said behind an empty 334 */
		return 0;
	}
	buf_puts(&out->line, " ");
	buf_base64(&out->line, response->ptr, response->len);
	return 0;
}

/* Without the last four characters: how the end is encoded depends on what is put behind it. */
static void keep_echo(char echo[SMTP_ECHO_MAX + 1], struct str said)
{
	size_t len = said.len > 4 ? said.len - 4 : 0, from = len > SMTP_ECHO_MAX ? len - SMTP_ECHO_MAX : 0;

	memcpy(echo, said.ptr + from, len - from);
	echo[len - from] = '\0';
}

static int next_line(struct smtp_exchange *x, const struct smtp_login *login, struct str challenge,
		     struct buf *response, struct smtp_auth_line *out)
{
	char decoded[SMTP_CHALLENGE_MAX / 4 * 3];
	int len = 0;

	out->shown = 0;
	if (reads_challenge(x)) {
		len = base64_decode(str_trim(challenge), decoded, sizeof(decoded));
		/* Of a refused token only the reason is lost. */
		if (len < 0 && x->mechanism == SMTP_AUTH_XOAUTH2) len = 0;
		if (len == ERR_TOO_LARGE) return refuse(out->why, "the server's AUTH challenge is too long");
		if (len < 0) return refuse(out->why, "the server's AUTH challenge is not base64");
	}
	int rc = respond(response, x, login, (struct str){decoded, (size_t)len}, out->why);
	if (rc < 0) return rc;
	buf_base64(&out->line, response->ptr, response->len);
	if (x->mechanism == SMTP_AUTH_CRAM_MD5 || (x->mechanism == SMTP_AUTH_SCRAM_SHA_256 && x->said == 2)) {
		keep_echo(x->echo[0], buf_view(&out->line));
		keep_echo(x->echo[1], buf_view(response));
	}
	return 0;
}

int smtp_auth_next(struct smtp_exchange *x, const struct smtp_login *login, struct str challenge,
		   struct smtp_auth_line *out)
{
	char raw[RESPONSE_MAX];
	struct buf response;

	buf_init(&response, raw, sizeof(raw));
	int rc = x->begun ? next_line(x, login, challenge, &response, out)
			  : first_line(x, login, &response, out);
	explicit_bzero(raw, sizeof(raw));
	return rc < 0 ? rc : out->line.cut ? ERR_TOO_LARGE : 0;
}
