/* Lists of addresses (RFC 5322 section 3.4): mailboxes and groups between commas. */
#include <string.h>

#include "base/err.h"
#include "job/job_internal.h"

/* Behind what quotes, brackets and comments hold together; at their beginning when they are not closed. */
static const char *skip_unit(const char *p, const char *end)
{
	const char *begin = p;
	unsigned depth = 0;
	char c = *p;

	if (c == '<' || c == '[') {
		p = memchr(p, c == '<' ? '>' : ']', (size_t)(end - p));
		return p ? p + 1 : begin;
	}
	if (c != '"' && c != '(') return p + 1;
	for (; p < end; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		else if (c == '"' && *p == '"' && p > begin)
			return p + 1;
		else if (c == '(' && *p == '(')
			depth++;
		else if (c == '(' && *p == ')' && --depth == 0)
			return p + 1;
	}
	return begin;
}

void job_list_init(struct job_list *l, struct str text)
{
	*l = (struct job_list){.text = text};
}

static int invalid(struct job_list *l, const char *why)
{
	l->why = why;
	return ERR_INVALID;
}

/* What the separator behind an item makes of it. */
static int judge(struct job_list *l, char separator, struct str item)
{
	bool after_comma = l->after_comma;

	l->after_comma = separator == ',';
	if (l->behind_group && item.len > 0) return invalid(l, "no comma behind a group");
	if (item.len == 0 && after_comma) return invalid(l, "nothing behind a comma");
	if (separator == ':') {
		if (l->in_group) return invalid(l, "a group inside of a group");
		if (item.len == 0) return invalid(l, "a group without a name");
		l->in_group = true;
		return JOB_LIST_GROUP;
	}
	if (separator == ';' && !l->in_group) return invalid(l, "a semicolon that ends no group");
	if (separator == '\0' && l->in_group)
		return invalid(l, "a group is not closed by ; (a name with a colon wants quotes)");
	if (item.len > 0) return JOB_LIST_MAILBOX;
	if (separator == '\0') return JOB_LIST_END;
	if (separator == ',' && !l->behind_group) return invalid(l, "nothing in front of a comma");
	l->in_group = false;
	l->behind_group = separator == ';';
	return separator == ';' ? JOB_LIST_GROUP_END : JOB_LIST_MAILBOX;
}

int job_list_next(struct job_list *l, struct str *item)
{
	const char *begin, *p, *end = l->text.ptr + l->text.len;
	char separator;
	int kind;

	do {
		begin = p = l->text.ptr + l->at;
		while (p < end && !strchr(",;:", *p ? *p : 'x')) {
			const char *next = skip_unit(p, end);

			if (next == p) return invalid(l, "a quote, bracket or comment is not closed");
			p = next;
		}
		separator = p < end ? *p : '\0';
		*item = str_trim((struct str){begin, (size_t)(p - begin)});
		kind = judge(l, separator, *item);
		if (kind < 0) return kind;
		/* the semicolon behind a member is looked at once more, by itself */
		if (separator && !(separator == ';' && kind == JOB_LIST_MAILBOX)) p++;
		l->at = (size_t)(p - l->text.ptr);
	} while (kind == JOB_LIST_MAILBOX && item->len == 0); /* the comma behind a group */
	return kind;
}

bool job_mailbox_next(struct str list, size_t *at, struct str *mailbox)
{
	while (*at < list.len) {
		const char *begin = list.ptr + *at, *end = list.ptr + list.len, *p = begin;

		while (p < end && !strchr(",;:", *p ? *p : 'x')) {
			const char *next = skip_unit(p, end);

			p = next > p ? next : end; /* not closed: it is no address, which its reader says */
		}
		*at = (size_t)(p - list.ptr) + (p < end);
		*mailbox = str_trim((struct str){begin, (size_t)(p - begin)});
		/* in front of a colon stands a group's name */
		if (mailbox->len > 0 && !(p < end && *p == ':')) return true;
	}
	return false;
}

int job_list_check(struct str text, const char **why)
{
	unsigned char memory[2048];
	struct job_address address;
	struct job_list l;
	struct arena a;
	struct str item;
	int kind, count = 0;

	job_list_init(&l, text);
	while ((kind = job_list_next(&l, &item)) > JOB_LIST_END) {
		int rc = 0;

		arena_init(&a, memory, sizeof(memory));
		count++;
		*why = NULL;
		if (kind == JOB_LIST_MAILBOX) rc = job_address_parse(&a, item, &address, why);
		if (kind == JOB_LIST_GROUP) rc = job_phrase_parse(&a, item, &address.name, why);
		if (rc < 0) return ERR_INVALID;
		if (kind == JOB_LIST_MAILBOX && !address.domain.ptr) {
			*why = "no @ in it";
			return ERR_INVALID;
		}
	}
	*why = kind < 0 ? l.why : count == 0 ? "empty" : NULL;
	return *why ? ERR_INVALID : 0;
}
