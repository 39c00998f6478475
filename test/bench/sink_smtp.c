/* The sink's side of SMTP: commands, DATA and BDAT. It takes what comes, and counts what should not have come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sink.h"

const char *const extension_word[EXTENSIONS] = {
	"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES", "DSN",
};

/* ---- Content ---- */

static void mail_end(struct conn *c)
{
	char text[80];

	content_end(&c->content);
	c->mail = c->data = c->chunk = c->last = false;
	c->rcpts = 0;
	snprintf(text, sizeof(text), "250 %sOk: queued as S%llu\r\n", offered[CODES] ? "2.0.0 " : "",
		 (unsigned long long)stats.mails);
	reply(c, text);
	stats.last = now_s() + delay_s;
	if (stats.mails == expected) {
		stats.all = stats.last;
		printf("all\n");
		fflush(stdout);
	}
}

/* Lines with stuffed dots up to the lone dot; what is left of the buffer stays for the next reading. */
static void data_lines(struct conn *c)
{
	while (c->data && c->in_at < c->in_len) {
		char *p = c->in + c->in_at;
		size_t n = c->in_len - c->in_at, skip = 0;

		if (c->content.bol && *p == '.') {
			if (n < 3) return; /* at least the lone dot's CR LF comes */
			if (p[1] == '\r' && p[2] == '\n') {
				c->in_at += 3;
				mail_end(c);
				return;
			}
			skip = 1;
		}
		const char *lf = memchr(p + skip, '\n', n - skip);
		size_t len = lf ? (size_t)(lf - p) + 1 : n;

		if (len > skip) content_piece(&c->content, p + skip, len - skip, lf != NULL);
		c->in_at += len;
	}
}

static void chunk_bytes(struct conn *c)
{
	size_t n = c->in_len - c->in_at;

	if (n > c->left) n = c->left;
	if (!c->refused) content_take(&c->content, c->in + c->in_at, n);
	c->in_at += n;
	c->left -= n;
	if (c->left > 0) return;
	c->chunk = false;
	if (c->refused)
		reply(c, "503 5.5.1 no recipients\r\n");
	else if (c->last)
		mail_end(c);
	else
		reply(c, "250 2.0.0 chunk\r\n");
}

/* ---- Commands ---- */

static bool is(const char *line, const char *word)
{
	return strncasecmp(line, word, strlen(word)) == 0;
}

static void ehlo(struct conn *c)
{
	char text[240];
	size_t n = (size_t)snprintf(text, sizeof(text), "250%csink.test\r\n", '-');

	for (int i = 0; i < EXTENSIONS; i++)
		if (offered[i])
			n += (size_t)snprintf(text + n, sizeof(text) - n, "250-%s%s\r\n", extension_word[i],
					      i == SIZE ? " 30000000" : "");
	snprintf(text + n, sizeof(text) - n, "250 HELP\r\n");
	c->ehlo = true;
	reply(c, text);
}

static void check_parameters(const char *line)
{
	static const struct {
		const char *word;
		enum extension needs;
	} parameters[] = {{" SIZE=", SIZE},        {" BODY=8BITMIME", EIGHTBIT},
			  {" SMTPUTF8", SMTPUTF8}, {" ENVID=", DSN},
			  {" RET=", DSN},          {" NOTIFY=", DSN},
			  {" ORCPT=", DSN}};

	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		if (strcasestr(line, parameters[i].word) && !offered[parameters[i].needs])
			violate(NOT_OFFERED);
	if (strcasestr(line, " BODY=BINARYMIME")) violate(NOT_OFFERED);
}

static void bdat(struct conn *c, const char *line)
{
	char *end;
	unsigned long n = strtoul(line + 5, &end, 10);

	stats.chunks++;
	if (!offered[CHUNKING]) {
		violate(NOT_OFFERED);
		reply(c, "502 no\r\n");
		return;
	}
	/* No violation: a client may ask so what becomes of a refused chunk. It is discarded (RFC 3030 section 2). */
	c->refused = c->rcpts == 0;
	stats.refused += c->refused;
	c->left = n;
	c->chunk = true;
	c->last = is(end, " LAST");
	if (n == 0) chunk_bytes(c);
}

static void command(struct conn *c, const char *line)
{
	stats.commands++;
	if (is(line, "MAIL FROM:")) {
		if (!c->ehlo || c->mail) violate(BAD_ORDER);
		check_parameters(line);
		if (stats.first == 0) stats.first = now_s();
		c->mail = true;
		content_begin(&c->content);
		reply(c, "250 2.1.0 ok\r\n");
	} else if (is(line, "RCPT TO:")) {
		if (!c->mail) violate(BAD_ORDER);
		check_parameters(line);
		c->rcpts++;
		stats.recipients++;
		reply(c, "250 2.1.5 ok\r\n");
	} else if (is(line, "DATA")) {
		if (c->rcpts == 0) violate(BAD_ORDER);
		if (c->in_at < c->in_len) violate(EARLY_CONTENT);
		c->data = true;
		reply(c, "354 go on\r\n");
	} else if (is(line, "BDAT ")) {
		bdat(c, line);
	} else if (is(line, "EHLO ") || is(line, "HELO ")) {
		ehlo(c);
	} else if (is(line, "RSET")) {
		c->mail = false;
		c->rcpts = 0;
		reply(c, "250 2.0.0 ok\r\n");
	} else if (is(line, "NOOP")) {
		reply(c, "250 2.0.0 ok\r\n");
	} else if (is(line, "QUIT")) {
		c->mail = false;
		reply(c, "221 2.0.0 bye\r\n");
		c->closing = true;
	} else {
		violate(UNKNOWN_COMMAND);
		reply(c, "500 5.5.2 what\r\n");
	}
}

static bool command_line(struct conn *c)
{
	char *p = c->in + c->in_at, *lf = memchr(p, '\n', c->in_len - c->in_at);

	if (!lf) return false;
	c->in_at += (size_t)(lf - p) + 1;
	if (lf == p || lf[-1] != '\r') violate(BARE_LF);
	*lf = '\0';
	command(c, p);
	return true;
}

void smtp_work(struct conn *c)
{
	while (c->used && !c->closing && c->in_at < c->in_len) {
		size_t before = c->in_at;

		if (c->data)
			data_lines(c);
		else if (c->chunk)
			chunk_bytes(c);
		else if (!command_line(c))
			break;
		if (c->in_at == before) break;
		/* Whoever was not told that he may send commands together waits for each reply. */
		if (c->in_at < c->in_len && !c->data && !c->chunk && !offered[PIPELINING])
			violate(NOT_PIPELINED);
	}
	memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
	c->in_len -= c->in_at;
	c->in_at = 0;
}
