/* Domains beyond ASCII: U-labels to A-labels with punycode (RFC 3492, RFC 5890).
 *
 * Mapped as people expect it (RFC 5895, UTS #46): small letters for capital ones, letters with marks composed.
 * U+00DF and U+03C2 are themselves, as in IDNA2008. Checked as far as it can be without Unicode's tables; what slips
 * through has no name in the DNS and fails there. A domain always leaves as A-labels, also when the mail needs
 * SMTPUTF8.
 */
#include "base/err.h"
#include "job/job_internal.h"

#define LABEL_BYTES_MAX 63 /* RFC 1035 section 2.3.4 */

struct range {
	uint32_t first, last;
};

/* What IDNA2008 (RFC 5892) disallows or makes depend on normalisation, as far as people can type or paste
 * it by mistake. What slips through has no name in the DNS and fails there. */
static const struct range refused[] = {
	{0x80, 0xB6},       {0xB8, 0xBF},       {0xD7, 0xD7},        {0xF7, 0xF7},     {0x0130, 0x0130},
	{0x0132, 0x0133},   {0x013F, 0x0140},   {0x0149, 0x0149},    {0x017F, 0x017F}, {0x01C4, 0x01CC},
	{0x0300, 0x036F},   {0x2000, 0x20CF},   {0x2100, 0x218F},    {0x2460, 0x24FF}, {0x3000, 0x3004},
	{0x0E33, 0x0E33},   {0x0EB3, 0x0EB3},   {0x1100, 0x11FF},    {0x10A0, 0x10C5}, {0x1C90, 0x1CBF},
	{0x3099, 0x309C},   {0x3164, 0x3164},   {0xE000, 0xFAFF},    {0xFB00, 0xFB4F}, {0xFE00, 0xFFFF},
	{0x1D400, 0x1D7FF}, {0x2F800, 0x2FA1F}, {0xE0000, 0x10FFFF},
};

/* Capital letters: the small one stands `add` behind; step 2: capital and small ones alternate. */
static const struct {
	uint32_t first, last, step, add;
} capitals[] = {
	{'A', 'Z', 1, 32},       {0xC0, 0xDE, 1, 32},     {0x0100, 0x0136, 2, 1},  {0x0139, 0x0147, 2, 1},
	{0x014A, 0x0176, 2, 1},  {0x0179, 0x017D, 2, 1},  {0x0386, 0x0386, 1, 38}, {0x0388, 0x038A, 1, 37},
	{0x038C, 0x038C, 1, 64}, {0x038E, 0x038F, 1, 63}, {0x0391, 0x03AB, 1, 32}, {0x0400, 0x040F, 1, 80},
	{0x0410, 0x042F, 1, 32}, {0x0460, 0x0480, 2, 1},  {0x048A, 0x04BE, 2, 1},  {0x04D0, 0x052E, 2, 1},
	{0x1E00, 0x1E94, 2, 1},  {0x1EA0, 0x1EFE, 2, 1},  {0x01A0, 0x01A4, 2, 1},  {0x01AF, 0x01AF, 1, 1},
	{0x01CD, 0x01DB, 2, 1},  {0x01DE, 0x01EE, 2, 1},  {0x01F8, 0x021E, 2, 1},  {0x0222, 0x0232, 2, 1},
	{0x0531, 0x0556, 1, 48},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint32_t small(uint32_t c)
{
	if (c == 0x0178) return 0xFF;
	if (c == 0x1E9E) return 0xDF; /* the capital sharp s */
	for (size_t i = 0; i < COUNT(capitals); i++)
		if (c >= capitals[i].first && c <= capitals[i].last)
			return (c - capitals[i].first) % capitals[i].step == 0 ? c + capitals[i].add : c;
	return c;
}

static bool is_refused(uint32_t c)
{
	for (size_t i = 0; i < COUNT(refused); i++)
		if (c >= refused[i].first && c <= refused[i].last) return true;
	return false;
}

/* RFC 3492 section 5 */
enum { BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700, BIAS = 72, FIRST = 128 };

static uint32_t adapt(uint32_t delta, uint32_t points, bool first)
{
	uint32_t k = 0;

	delta = first ? delta / DAMP : delta / 2;
	delta += delta / points;
	for (; delta > ((BASE - T_MIN) * T_MAX) / 2; k += BASE)
		delta /= BASE - T_MIN;
	return k + (BASE - T_MIN + 1) * delta / (delta + SKEW);
}

static void put_digit(struct buf *out, uint32_t digit)
{
	char c = (char)(digit < 26 ? 'a' + digit : '0' + (digit - 26));

	buf_add(out, &c, 1);
}

static void put_number(struct buf *out, uint32_t q, uint32_t bias)
{
	for (uint32_t k = BASE;; k += BASE) {
		uint32_t t = k <= bias ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias;

		if (q < t) break;
		put_digit(out, t + (q - t) % (BASE - t));
		q = (q - t) / (BASE - t);
	}
	put_digit(out, q);
}

/* RFC 3492 section 6.3. At most 63 characters below U+110000: delta stays below 2^27, nothing overflows. */
static void punycode(struct buf *out, const uint32_t *chars, size_t count)
{
	uint32_t n = FIRST, delta = 0, bias = BIAS, done = 0, basic;

	for (size_t i = 0; i < count; i++)
		if (chars[i] < FIRST) {
			buf_add(out, &(char){(char)chars[i]}, 1);
			done++;
		}
	basic = done;
	if (basic > 0) buf_puts(out, "-");
	while (done < count) {
		uint32_t least = UINT32_MAX;

		for (size_t i = 0; i < count; i++)
			if (chars[i] >= n && chars[i] < least) least = chars[i];
		delta += (least - n) * (done + 1);
		n = least;
		for (size_t i = 0; i < count; i++) {
			if (chars[i] < n) delta++;
			if (chars[i] != n) continue;
			put_number(out, delta, bias);
			bias = adapt(delta, done + 1, done == basic);
			delta = 0;
			done++;
		}
		delta++;
		n++;
	}
}

/* ---- rules of a whole label ---- */

enum { MIDDLE_DOT = 0xB7, ZWNJ = 0x200C, ZWJ = 0x200D, KATAKANA_DOT = 0x30FB };

static bool is_in(uint32_t c, uint32_t first, uint32_t last)
{
	return c >= first && c <= last;
}

/* RFC 5892 appendix A.1 and A.2, as far as it is written: behind the virama of India's scripts. */
static bool is_virama(uint32_t c)
{
	return is_in(c, 0x0900, 0x0D7F) ? (c & 0x7F) == 0x4D : c == 0x0DCA || c == 0x1039;
}

static bool is_arabic(uint32_t c)
{
	return is_in(c, 0x0620, 0x06D3);
}

static bool is_rtl(uint32_t c)
{
	return is_in(c, 0x0590, 0x08FF);
}

static bool is_arabic_digit(uint32_t c)
{
	return is_in(c, 0x0660, 0x0669);
}

/* Characters that are good in some places only (RFC 5892 appendix A). */
static bool is_out_of_place(const uint32_t *chars, size_t count, size_t i)
{
	uint32_t before = i > 0 ? chars[i - 1] : 0, after = i + 1 < count ? chars[i + 1] : 0;

	switch (chars[i]) {
	case ZWNJ: return !is_virama(before) && !(is_arabic(before) && is_arabic(after));
	case ZWJ: return !is_virama(before);
	case MIDDLE_DOT: return before != 'l' || after != 'l';
	case 0x0375: return !is_in(after, 0x0370, 0x03FF);
	case 0x05F3:
	case 0x05F4: return !is_in(before, 0x0590, 0x05FF);
	case KATAKANA_DOT:
		for (size_t k = 0; k < count; k++)
			if (chars[k] != KATAKANA_DOT && is_in(chars[k], 0x3005, 0x9FFF)) return false;
		return true;
	default: return false;
	}
}

/* RFC 5893 section 2: a label that reads from right to left begins with a letter that does, and has no other. */
static bool is_mixed(const uint32_t *chars, size_t count)
{
	bool rtl = false, other = false, ascii_digit = false, arabic_digit = false;

	for (size_t i = 0; i < count; i++) {
		uint32_t c = chars[i];

		rtl = rtl || is_rtl(c);
		ascii_digit = ascii_digit || is_in(c, '0', '9') || is_in(c, 0x06F0, 0x06F9);
		arabic_digit = arabic_digit || is_arabic_digit(c);
		other = other || is_in(c, 'a', 'z') || (c >= 0xC0 && !is_rtl(c) && c != ZWNJ && c != ZWJ);
	}
	return rtl && (other || !is_rtl(chars[0]) || is_arabic_digit(chars[0]) ||
		       is_in(chars[0], 0x06F0, 0x06F9) || (ascii_digit && arabic_digit));
}

static const char *judge(const uint32_t *chars, size_t count)
{
	if (count > 3 && chars[2] == '-' && chars[3] == '-')
		return "a label of the domain with hyphens at 3 and 4";
	if (count > 0 && is_virama(chars[0])) return "a label of the domain begins with a mark";
	for (size_t i = 0; i < count; i++)
		if (is_out_of_place(chars, count, i)) return "a character where a domain cannot have it";
	if (is_mixed(chars, count)) return "a label of the domain in two directions of writing";
	return NULL;
}

static const char *take_chars(struct str label, uint32_t chars[LABEL_BYTES_MAX], size_t *count)
{
	while (label.len > 0) {
		uint32_t c = small(job_next_char(&label)),
			 whole = *count ? job_compose(chars[*count - 1], c) : 0;

		if (whole) {
			chars[*count - 1] = whole;
			continue;
		}
		if (*count == LABEL_BYTES_MAX) return "a label of the domain is longer than 63 bytes";
		/* leading consonants wait for their vowel */
		if (is_refused(c) && !is_in(c, 0x1100, 0x1112) && c != ZWNJ && c != ZWJ)
			return "a character that a domain cannot have (write it in its xn-- form)";
		chars[(*count)++] = c;
	}
	for (size_t i = 0; i < *count; i++)
		if (is_in(chars[i], 0x1100, 0x11FF))
			return "a character that a domain cannot have (write it in its xn-- form)";
	return judge(chars, *count);
}

static int add_label(struct str label, bool ascii, struct buf *out, const char **why)
{
	uint32_t chars[LABEL_BYTES_MAX];
	size_t count = 0, before = out->len;

	if (label.len == 0)
		*why = "the domain has an empty label";
	else if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		*why = "a label of the domain begins or ends with a hyphen";
	else if (!ascii)
		*why = take_chars(label, chars, &count);
	if (*why) return ERR_INVALID;
	if (ascii) {
		buf_str(out, label);
	} else {
		buf_puts(out, "xn--");
		punycode(out, chars, count);
	}
	if (out->len - before > LABEL_BYTES_MAX || out->cut) {
		*why = "a label of the domain is longer than 63 bytes";
		return ERR_INVALID;
	}
	return 0;
}

int job_domain_to_ascii(struct str domain, struct buf *out, const char **why)
{
	size_t begin = 0;
	bool ascii = true;

	*why = NULL;
	for (size_t i = 0; i <= domain.len; i++) {
		if (i < domain.len && domain.ptr[i] != '.') {
			ascii = ascii && (unsigned char)domain.ptr[i] < 0x80;
			continue;
		}
		int rc = add_label((struct str){domain.ptr + begin, i - begin}, ascii, out, why);

		if (rc < 0) return rc;
		if (i < domain.len) buf_puts(out, ".");
		begin = i + 1;
		ascii = true;
	}
	return 0;
}
