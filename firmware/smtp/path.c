/* What may stand in a command. Pure. */
#include <string.h>

#include "smtp/parts.h"

#define PATH_BYTES_MAX 254 /* RFC 5321 section 4.5.3.1.3: 256 with the brackets */

bool smtp_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] > 0x7f) return false;
	return true;
}

/* Length of the local part: up to the '@'; 0 when it is none. */
static size_t local_len(struct str s)
{
	size_t i = 0;

	if (s.len > 0 && s.ptr[0] == '"') {
		for (i = 1; i < s.len && s.ptr[i] != '"'; i++)
			if (s.ptr[i] == '\\') i++;
		return i < s.len ? i + 1 : 0;
	}
	while (i < s.len && s.ptr[i] != ' ' && strchr("()<>[]:;@\\,\"", s.ptr[i]) == NULL)
		i++;
	return i;
}

bool smtp_path_ok(struct str addr)
{
	if (addr.len == 0 || addr.len > PATH_BYTES_MAX || !str_is_utf8(addr)) return false;
	if (str_has_ctl(addr) || memchr(addr.ptr, '\t', addr.len) != NULL) return false;
	size_t local = local_len(addr);
	if (local == 0 || local + 1 >= addr.len || addr.ptr[local] != '@') return false;
	/* The domain, or an address literal. */
	for (size_t i = local + 1; i < addr.len; i++)
		if (strchr(" ()<>;@\\,\"", addr.ptr[i]) != NULL) return false;
	return true;
}

void smtp_xtext(struct buf *out, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		char coded[3] = {'+', hex[c >> 4], hex[c & 15]};

		if (c < 33 || c > 126 || c == '+' || c == '=')
			buf_add(out, coded, sizeof(coded));
		else
			buf_add(out, s.ptr + i, 1);
	}
}

bool smtp_helo_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= 255 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") == len;
}
