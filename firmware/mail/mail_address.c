/* Names, addresses, groups and lists of them (RFC 5322 section 3.4). */
#include <string.h>

#include "base/check.h"
#include "mail/mail_internal.h"

#define BEHIND           3  /* a group's name: " :;" */
#define NAME_ON_ONE_LINE 60 /* a longer display name is written as encoded words, which fold */

static size_t quoted_len(struct str name)
{
	size_t len = name.len + 2;

	for (size_t i = 0; i < name.len; i++)
		len += name.ptr[i] == '"' || name.ptr[i] == '\\';
	return len;
}

static enum mail_form name_form(struct str name)
{
	enum mail_form form = MAIL_PLAIN;

	if (quoted_len(name) > NAME_ON_ONE_LINE + 2 || mail_has_encoded_word(name))
		return mail_words_form(name);
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c < ' ' || c >= 0x7f) return mail_words_form(name);
		/* RFC 5322 section 3.2.3: a phrase of atoms with single spaces needs no quotes */
		if (c == ' ' ? i == 0 || i + 1 == name.len || name.ptr[i - 1] == ' '
			     : !mail_is_alnum(c) && !strchr("!#$%&'*+-/=?^_`{|}~", c))
			form = MAIL_QUOTED_STRING;
	}
	return form;
}

/* `first`: right behind the field's name, where a fold would read as a space of the text's to some. */
static void put_name(struct mail *m, struct str name, bool first)
{
	enum mail_form form = name_form(name);
	size_t at = 0;

	switch (form) {
	case MAIL_PLAIN:
		mail_gap(m, name.len + BEHIND);
		mail_put_str(m, name);
		break;
	case MAIL_QUOTED_STRING:
		mail_gap(m, quoted_len(name) + BEHIND);
		mail_put_quoted(m, name);
		break;
	default:
		for (; at < name.len; first = false)
			mail_put_word(m, name, &at, form, !first, BEHIND);
	}
}

void mail_put_address(struct mail *m, struct str name, struct str addr, bool first)
{
	if (name.len > 0) {
		put_name(m, name, first);
		mail_gap(m, addr.len + 4); /* with brackets, and ";," at most */
		mail_puts(m, "<");
		mail_put_str(m, addr);
		mail_puts(m, ">");
		return;
	}
	if (first)
		mail_puts(m, " ");
	else
		mail_gap(m, addr.len + 2);
	mail_put_str(m, addr);
}

/* What separates an item from the one before it, or the field's name. */
static bool begin_item(struct mail *m, const char *field)
{
	bool first = !m->begun;

	if (first) mail_puts(m, field);
	if (m->comma) mail_puts(m, ",");
	m->begun = m->comma = true;
	return first;
}

static void put_group(struct mail *m, struct str name, bool first)
{
	put_name(m, name, first);
	/* RFC 2047 section 5 (3): an encoded word is apart from every special character */
	if (m->out[m->out_len - 1] == '=') mail_puts(m, " ");
	mail_puts(m, ":");
	m->comma = false;
}

/* ---- the job's recipients ---- */

static bool put_rcpt(struct mail *m, const char *field)
{
	const struct job_address *a = &m->input->job->rcpts[m->item++].address;

	mail_put_address(m, a->name, a->addr, begin_item(m, field));
	return true;
}

bool mail_put_rcpts(struct mail *m, const char *field, enum job_rcpt_kind kind)
{
	const struct job *job = m->input->job;
	const struct job_group *g;

	while (m->group < job->group_count && job->groups[m->group].kind != kind)
		m->group++;
	g = m->group < job->group_count ? &job->groups[m->group] : NULL;
	if (m->in_group && g) {
		if (m->item < g->first + g->count) return put_rcpt(m, field);
		mail_puts(m, ";");
		m->group++;
		m->in_group = false;
		m->comma = true;
		return true;
	}
	while (m->item < job->rcpt_count && job->rcpts[m->item].kind != kind)
		m->item++;
	if (g && g->first <= m->item) {
		put_group(m, g->name, begin_item(m, field));
		m->item = g->first;
		m->in_group = true;
		return true;
	}
	return m->item < job->rcpt_count && put_rcpt(m, field);
}

/* ---- a header's value ---- */

bool mail_put_list_item(struct mail *m)
{
	unsigned char memory[2048];
	struct job_address address;
	struct arena a;
	struct str item;
	const char *why;
	bool first = !m->comma && m->column > 0 && m->list.at == 0;
	int kind = job_list_next(&m->list, &item);

	arena_init(&a, memory, sizeof(memory));
	switch (kind) {
	case JOB_LIST_GROUP:
		CHECK(job_phrase_parse(&a, item, &address.name, &why) == 0); /* mail_open checked it */
		begin_item(m, "");
		put_group(m, address.name, first);
		return true;
	case JOB_LIST_MAILBOX:
		CHECK(job_address_parse(&a, item, &address, &why) == 0);
		begin_item(m, "");
		mail_put_address(m, address.name, address.addr, first);
		return true;
	case JOB_LIST_GROUP_END:
		mail_puts(m, ";");
		m->comma = true;
		return true;
	default: return false;
	}
}
