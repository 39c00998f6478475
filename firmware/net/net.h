/* net: connections for everything above it: dialing a host, TLS as a stream over a stream, reading lines.
 *
 * Called by smtp, provider, inbound, queue and api, each from its own thread; blocking, with absolute
 * deadlines (monotonic ms). The only room that knows mbedTLS. Storage is the caller's and must not move while
 * in use; mbedTLS takes about 33 KB of heap for a connection (16 K in, 4 K out, handshake) and gives it back
 * when that is closed.
 *
 * Never: retries, keeps connections, logs, or speaks a protocol above TLS. What went wrong is returned as an
 * error and as one sentence for people, appended to the `why` that the caller passes (a buf of 200 bytes
 * holds any; never NULL).
 */
#ifndef POSTERN_NET_NET_H
#define POSTERN_NET_NET_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/limits.h"
#include "hal_cancel.h"
#include "hal_stream.h"

/* Once, at start, before the first thread that uses TLS. Waits until the device has entropy.
 * Errors: ERR_ENTROPY, ERR_INTERNAL. */
int net_init(void);
void net_close(void);

/* ---- dialing
 * ------------------------------------------------------------------------------------------------ */

#define NET_HOST_MAX 256 /* bytes of a host name with its NUL */

/* Whom we are connected to. */
struct net_peer {
	struct hal_addr addr;
	char text[NET_HOST_MAX + 64]; /* "mail.example.com [192.0.2.1]:25" */
};

#define NET_ADDRS_MAX     8   /* addresses of a host that are tried */
#define NET_DIAL_DELAY_MS 250 /* RFC 8305 section 5: after which the next address joins the race */

/* The way to one host. Its addresses are tried like this (RFC 8305, "Happy Eyeballs"): in the resolver's order,
 * the families in turn, beginning with the one it put first; each 250 ms later than the one before, or at
 * once when all that were begun have failed; whichever is connected first wins, the others are given up. So
 * an address that does not answer costs 250 ms. Belongs to one thread, net_dialer_abort excepted; must not move. */
struct net_dialer {
	const char *host; /* borrowed */
	uint16_t port;
	bool resolved;
	unsigned count; /* addresses to try */
	unsigned won;   /* which was connected last */
	unsigned total; /* that the host has */
	struct hal_addr addrs[NET_ADDRS_MAX];
	enum net_addr_state {
		NET_ADDR_FRESH,
		NET_ADDR_UNDER_WAY,
		NET_ADDR_LATE,
		NET_ADDR_DONE
	} states[NET_ADDRS_MAX];
	struct hal_cancel cancel;
};

void net_dialer_init(struct net_dialer *d, const char *host, uint16_t port);

/* A connection to the best address that has not been used up; the first call asks for the addresses (at most 8 are
 * kept, and with both families there is room for both). When something behind connect fails (TLS), call it
 * again: an address that was connected or has failed is not tried again, one that only lost the race is.
 * *peer says to whom (on failure: to whom last). Each failure's reason is appended to *why, also when another
 * address succeeded. The error is the most telling one: REFUSED before TIMEOUT before the others.
 * Errors: ERR_DNS (also: no answer before the deadline), ERR_DNS_NO_NAME, ERR_INVALID (no host name),
 * ERR_REFUSED, ERR_TIMEOUT, ERR_UNREACHABLE (also: no address left), ERR_LINK_DOWN, ERR_STOPPING,
 * ERR_NO_MEMORY. */
int net_dialer_next(struct net_dialer *d, struct hal_socket *s, int64_t deadline_ms, struct net_peer *peer,
		    struct buf *why);

/* How much an error says about a host, for who has one of each address: the higher one is to be reported. A
 * certificate is worth an alert: TLS_CERT before TLS before REFUSED before TIMEOUT before the others; 0 is lowest. */
int net_telling(int err);

/* Whether another net_dialer_next has anything to try. */
bool net_dialer_more(const struct net_dialer *d);

/* The address that was connected last may be tried once more, after the others: what failed there was not its
 * fault. */
void net_dialer_again(struct net_dialer *d);

/* From any thread, between init and close: ends the waiting, for names as for connections, with ERR_STOPPING. */
void net_dialer_abort(struct net_dialer *d);

/* Connections that it made stay open. */
void net_dialer_close(struct net_dialer *d);

/* Sends all of it. *sent (may be NULL) says how much the stream took, also on failure. Errors: of hal_stream.
 */
int net_send_all(struct hal_stream *s, const void *bytes, size_t len, int64_t deadline_ms, size_t *sent);

/* ---- TLS
 * ---------------------------------------------------------------------------------------------------- */

enum net_tls_side { NET_TLS_CLIENT, NET_TLS_SERVER };

/* What a TLS configuration is made from; NULL and "" both mean "not set". Paths are absolute or below the
 * storage root. Files are PEM or DER; a key must not be encrypted. A server's certificate that stands in the
 * CA file itself is trusted as it is (its names and dates are checked nevertheless). */
struct net_tls_settings {
	enum net_tls_side side;
	bool insecure;       /* client: do not verify the server's certificate ([provider] tls_verify = no) */
	const char *ca_path; /* client: whom to trust; not set: the system's bundle. Server: when set, clients
				  * must have a certificate that one of these issued */
	const char *cert_path; /* own certificate, with its chain behind it; a server needs one */
	const char *key_path;  /* its key; not set: in the file of cert_path */
	bool tickets;          /* server: gives out session tickets, so that clients can resume */
	bool no_tls13;         /* TLS 1.2 at most */
};

#define NET_TLS_SESSIONS 4 /* kept by a client's configuration for later connections */

/* One for each provider, mailbox or listener; used by any number of connections and threads at once.
 *
 * A client's keeps the last sessions that servers gave (RFC 5077 tickets and session ids of TLS 1.2, RFC 8446 section
 * 4.6.1 of TLS 1.3), NET_TLS_SESSIONS of them, for at most an hour, and offers one to the same host name again: a
 * resumed handshake needs neither the certificate nor a signature. Each is offered once. A server that does not take
 * it does a whole handshake; nobody notices. The certificate's judgement is that of the whole handshake, by this
 * configuration; a new configuration has no sessions. Each takes about 0.5 KB and its ticket (mostly 0.2 KB, never
 * more than 4 KB) of mbedTLS' heap. */
struct net_tls_config {
	uint64_t opaque[256];
};

/* Makes it ready. The CA file is turned once into an indexed bundle in DATA_DIR/ca, which is mapped, and made
 * anew when the CA file has changed: memory does not grow with the number of CAs. Takes about 10 KB of stack.
 * Errors (*why names the file): ERR_NOT_FOUND, ERR_DENIED, ERR_INVALID (no certificate or key in it, key of
 * another certificate), ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO (bundle could not be written), ERR_NO_MEMORY,
 * ERR_ENTROPY. */
int net_tls_config_init(struct net_tls_config *c, const struct net_tls_settings *settings, struct buf *why);

/* SHA-256 over what net_tls_config_init would read now: another one when a file has changed. A file that cannot be
 * read counts as that. */
void net_tls_files_digest(const struct net_tls_settings *settings, unsigned char out[DIGEST_SHA256_BYTES]);

/* After the last connection made with it was closed. */
void net_tls_config_close(struct net_tls_config *c);

/* A TLS connection over another stream; use .stream as any other. */
struct net_tls {
	struct hal_stream stream;
	uint64_t opaque[256];
};

/* Does the handshake over `below`, which from then on belongs to this stream (closing it closes both). On
 * failure `below` still belongs to the caller, and *why says which check failed. Client: host is the name
 * that the certificate must carry, and the SNI; never NULL. An address there must be in the certificate as an
 * address, and there is no SNI (RFC 6066 section 3). Server: host is NULL. While the clock is unset, a
 * certificate that has ended before the clock's floor is refused, one that seems not to have begun is not;
 * everything else is checked as always. Errors: ERR_TLS (no common version or cipher, alert, broken record),
 * ERR_TLS_CERT, ERR_TIMEOUT, ERR_CLOSED, ERR_RESET, ERR_STOPPING, ERR_UNREACHABLE, ERR_NO_MEMORY. */
int net_tls_start(struct net_tls *t, struct net_tls_config *c, struct hal_stream *below, const char *host,
		  int64_t deadline_ms, struct buf *why);

/* "TLSv1.3 TLS1-3-AES-128-GCM-SHA256", with ", resumed" behind it when it was; for transcripts. */
void net_tls_text(const struct net_tls *t, struct buf *out);

/* Client, also after net_tls_start has failed: whether a kept session was offered. A server may fail over it that
 * would do without; after such a failure no session with that host is kept any more. */
bool net_tls_offered(const struct net_tls *t);

/* The sentence behind an ERR_TLS of the stream's operations, when the other side gave a reason; else nothing. A server
 * that does not like our certificate says so only after net_tls_start has succeeded (TLS 1.3). */
void net_tls_why(const struct net_tls *t, struct buf *out);

/* Client: whether a kept session was taken up, so that there was no certificate to judge. */
bool net_tls_resumed(const struct net_tls *t);

/* ---- lines
 * -------------------------------------------------------------------------------------------------- */

#define NET_LINE_BYTES_MAX LIMIT_net_line /* a line longer than this ends the reading */

/* Reads a stream line by line through a buffer of the caller. */
struct net_line {
	struct hal_stream *stream;
	char *ptr;
	size_t cap;  /* at least 64 */
	size_t at;   /* the first byte not yet given out */
	size_t have; /* end of what was received */
};

void net_line_init(struct net_line *r, struct hal_stream *stream, void *memory, size_t cap);

/* The next line without its end, which is LF or CRLF; bytes other than LF mean nothing here (NUL, lone CR and
 * 8-bit are content). *line is valid until the next call. A line that does not fit is read to its end, and
 * what fits (at least half of cap) is given with *cut = true. Nothing is lost on ERR_TIMEOUT but the tail of
 * a cut line. Errors: of hal_stream (an end in the middle of a line is ERR_CLOSED), ERR_PROTOCOL
 * (NET_LINE_BYTES_MAX). */
int net_line_read(struct net_line *r, struct str *line, bool *cut, int64_t deadline_ms);

/* Bytes received but not given out. */
size_t net_line_pending(const struct net_line *r);

#endif
