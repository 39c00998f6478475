/* Whether replies are in step with commands: by their wording. */
#include "smtp/step.h"

#include <string.h>

#define WORDS_MAX 12 /* of a reply's text; what stands behind is its own */

/* Commands as bits of struct smtp_wording. */
static unsigned char kind_of(enum smtp_command command)
{
	switch (command) {
	case SMTP_CMD_RSET:
	case SMTP_CMD_PROBE_RSET: return 1;
	case SMTP_CMD_MAIL: return 2;
	case SMTP_CMD_RCPT: return 4;
	case SMTP_CMD_BDAT: return 8;
	case SMTP_CMD_DOT:
	case SMTP_CMD_LAST: return 16;
	default: return 0;
	}
}

#define KIND_RCPT  4
#define KIND_FINAL 16

/* FNV-1a, 32 bits. */
static uint32_t hash_add(uint32_t h, char c)
{
	return (h ^ (unsigned char)c) * 16777619U;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_mark(char c)
{
	return c != '\0' && strchr(".,:;!?()'\"", c) != NULL;
}

/* The words of a text without what changes from mail to mail: of ids, addresses and numbers only that there are
 * some. 0: no words. */
static uint32_t hash_words(const char *text)
{
	uint32_t h = 2166136261U;
	bool other = false, any = false;

	for (int n = 0; n < WORDS_MAX && *text != '\0'; n++) {
		size_t len = strcspn(text, " "), letters = 0, end;

		for (end = len; end > 0 && is_mark(text[end - 1]);)
			end--;
		while (letters < end && is_letter(text[letters]))
			letters++;
		if (letters == end && end > 0) {
			for (size_t i = 0; i < end; i++)
				h = hash_add(h, (char)(text[i] | 0x20));
			h = hash_add(h, ' ');
			any = true;
		} else if (len > 0 && !other) {
			h = hash_add(h, '#');
		}
		other = letters < end;
		text += len;
		text += strspn(text, " ");
	}
	return !any ? 0 : h == 0 ? 1 : h;
}

static uint32_t hash_enhanced(const char *code)
{
	uint32_t h = 2166136261U;

	for (; *code != '\0'; code++)
		h = hash_add(h, *code);
	return h == 2166136261U ? 0 : h;
}

static struct smtp_wording *find(struct smtp *s, uint32_t hash)
{
	for (size_t i = 0; i < s->wording_count; i++)
		if (s->wordings[i].hash == hash) return &s->wordings[i];
	return NULL;
}

static void learn(struct smtp *s, uint32_t hash, unsigned char kind)
{
	struct smtp_wording *w = find(s, hash);

	if (hash == 0) return;
	if (w == NULL && s->wording_count < SMTP_WORDINGS_MAX) {
		w = &s->wordings[s->wording_count++];
		*w = (struct smtp_wording){hash, 0};
	}
	if (w != NULL) w->kinds |= kind;
}

static bool is_of(struct smtp *s, uint32_t hash, unsigned char kind)
{
	const struct smtp_wording *w = find(s, hash);

	return hash != 0 && w != NULL && (w->kinds & kind) != 0;
}

static bool is_of_other(struct smtp *s, uint32_t hash, unsigned char kind)
{
	const struct smtp_wording *w = find(s, hash);

	return hash != 0 && w != NULL && (w->kinds & kind) == 0;
}

/* x.1.1 to x.1.8: about an address. */
static bool is_address_code(const char *enhanced)
{
	return strncmp(enhanced, "2.1.", 4) == 0;
}

/* Before a kind was seen, only what cannot be right is a sign. */
static enum step_sign sign_of_final(struct smtp *s, const struct smtp_flight *f, enum smtp_command command,
				    uint32_t words, uint32_t code)
{
	bool known = s->proven || (s->worded & KIND_FINAL) != 0;

	if (!known && !f->behind) return STEP_FITS;
	if (is_address_code(s->reply.enhanced) && !is_of(s, code, KIND_FINAL)) return STEP_WRONG;
	/* 354 stood between the envelope and a dot. */
	if (!known || command == SMTP_CMD_DOT) return STEP_FITS;
	return is_of_other(s, words != 0 ? words : code, KIND_FINAL) ? STEP_WRONG : STEP_FITS;
}

static enum step_sign sign_of(struct smtp *s, unsigned char kind, uint32_t words, uint32_t code)
{
	if ((s->worded & kind) == 0) return STEP_FITS;
	if (is_of_other(s, words, kind)) return find(s, words)->kinds == KIND_FINAL ? STEP_WRONG : STEP_DOUBT;
	return is_of_other(s, code, kind) ? STEP_DOUBT : STEP_FITS;
}

enum step_sign step_judge(struct smtp *s, const struct smtp_flight *f, enum smtp_command command)
{
	unsigned char kind = kind_of(command);
	uint32_t code = hash_enhanced(s->reply.enhanced), words = hash_words(s->reply.text);
	enum step_sign sign = STEP_FITS;

	/* The same words under another enhanced code are another reply. */
	if (words != 0) words = ((words ^ code) * 16777619U) | 1;
	if (s->company && kind == KIND_FINAL)
		sign = sign_of_final(s, f, command, words, code);
	else if (s->company)
		sign = sign_of(s, kind, words, code);
	if (sign != STEP_FITS) return sign;
	if (kind == KIND_FINAL)
		s->finals_tell =
			(s->worded & KIND_RCPT) != 0 && ((words != 0 && !is_of(s, words, KIND_RCPT)) ||
							 (code != 0 && !is_of(s, code, KIND_RCPT)));
	if (kind == KIND_FINAL || words != 0 || code != 0) s->worded |= kind;
	learn(s, words, kind);
	learn(s, code, kind);
	return STEP_FITS;
}

bool step_knows_finals(const struct smtp *s)
{
	return (s->worded & KIND_FINAL) != 0;
}

bool step_tells(const struct smtp *s)
{
	return s->finals_tell;
}
