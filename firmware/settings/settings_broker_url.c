#include <string.h>

#include "settings/room.h"

/* amqp[s]://user:password@host:port/vhost (the AMQP URI specification). Every part but the scheme may be
 * absent and has its default then. Apart from the specification: a vhost that is absent or empty is "/",
 * since no broker is meant by an empty one; there are no query parameters. */

struct parts {
	struct str user, password, host, port, vhost; /* .ptr NULL: absent */
};

/* Before the first c in *s, *s keeps what is behind it; all of it when there is none. */
static bool split(struct str *s, char c, struct str *before)
{
	const char *at = s->len > 0 ? memchr(s->ptr, c, s->len) : NULL;

	if (!at) return false;
	*before = (struct str){s->ptr, (size_t)(at - s->ptr)};
	*s = (struct str){at + 1, s->len - before->len - 1};
	return true;
}

/* host, host:port, [::1]:port */
static const char *split_authority(struct str s, struct parts *p)
{
	const char *close = s.len > 0 && *s.ptr == '[' ? memchr(s.ptr, ']', s.len) : NULL;

	p->host = s;
	if (close) {
		p->host = (struct str){s.ptr + 1, (size_t)(close - s.ptr - 1)};
		s = (struct str){close + 1, s.len - p->host.len - 2};
		if (s.len > 0 && *s.ptr != ':') return "has something between ] and the port";
		if (s.len > 0) p->port = (struct str){s.ptr + 1, s.len - 1};
		return NULL;
	}
	if (split(&s, ':', &p->host)) p->port = s;
	return NULL;
}

static const char *split_url(struct str s, struct parts *p)
{
	struct str authority, user;

	if (s.len > 0 && (memchr(s.ptr, '?', s.len) || memchr(s.ptr, '#', s.len)))
		return "has parameters (?...), use the keys of this section; a ? or # in a password is "
		       "written %3F, %23";
	if (split(&s, '/', &authority)) {
		p->vhost = s;
		if (s.len > 0 && memchr(s.ptr, '/', s.len))
			return "has a / in its vhost: it is written %2F there";
	} else {
		authority = s;
	}
	if (split(&authority, '@', &user)) {
		if (authority.len > 0 && memchr(authority.ptr, '@', authority.len))
			return "has two @: in a password it is written %40";
		p->user = user;
		if (split(&user, ':', &p->user)) p->password = user;
	}
	return split_authority(authority, p);
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* RFC 3986 section 2.1. False for a % that is not followed by two digits. */
static bool decode(struct str s, struct buf *b)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '%') {
			int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1,
			    low = i + 2 < s.len ? hex(s.ptr[i + 2]) : -1;

			if (high < 0 || low < 0) return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		buf_add(b, &c, 1);
	}
	return true;
}

static void take_part(struct load *l, size_t key, struct str part)
{
	char text[1025], reason[128];
	struct buf b, why;

	if (part.len == 0) return;
	buf_init(&b, text, sizeof(text));
	buf_init(&why, reason, sizeof(reason));
	*settings_origin(l->s, key, 0) = ORIGIN_DERIVED;
	/* The reason repeats no part of the url: any part may be a password that was put in the wrong place.
	 * */
	if (!decode(part, &b))
		settings_problem_key(l, SETTINGS_KEY_broker_url, 0, "has a %% in its %s that is not %%XX",
				     settings_keys[key].key);
	else if (settings_value_parse(&l->s->arena, &settings_keys[key], buf_view(&b),
				      settings_member(l->s, key, 0), &why) < 0)
		settings_problem_key(l, SETTINGS_KEY_broker_url, 0, "has a bad %s", settings_keys[key].key);
	explicit_bzero(text, sizeof(text));
}

/* Two places that say the same are a mistake in waiting. */
static void refuse_others(struct load *l)
{
	static const size_t others[] = {SETTINGS_KEY_broker_host, SETTINGS_KEY_broker_port,
					SETTINGS_KEY_broker_username, SETTINGS_KEY_broker_password,
					SETTINGS_KEY_broker_vhost};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (*settings_origin(l->s, others[i], 0) != ORIGIN_DEFAULT)
			settings_problem_key(l, others[i], 0,
					     "stands beside url, which says it already: keep one of them");
}

void settings_broker_url(struct load *l)
{
	struct str s = settings_secret(&l->s->broker.url);
	struct parts parts = {0};
	const char *problem;

	if (s.len == 0) return;
	refuse_others(l);
	l->s->broker.tls = str_starts_nocase(s, STR("amqps://"));
	if (!l->s->broker.tls && !str_starts_nocase(s, STR("amqp://"))) {
		settings_problem_key(l, SETTINGS_KEY_broker_url, 0,
				     "is not of the form amqp[s]://user:password@host:port/vhost");
		return;
	}
	s.ptr += l->s->broker.tls ? 8 : 7;
	s.len -= l->s->broker.tls ? 8 : 7;
	problem = split_url(s, &parts);
	if (problem) {
		settings_problem_key(l, SETTINGS_KEY_broker_url, 0, "%s", problem);
		return;
	}
	if (parts.password.len > 0 && l->secret_line == 0) l->secret_line = l->url_line;
	take_part(l, SETTINGS_KEY_broker_username, parts.user);
	take_part(l, SETTINGS_KEY_broker_password, parts.password);
	take_part(l, SETTINGS_KEY_broker_host, parts.host);
	take_part(l, SETTINGS_KEY_broker_port, parts.port);
	take_part(l, SETTINGS_KEY_broker_vhost, parts.vhost);
}
