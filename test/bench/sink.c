/* A fast SMTP sink for measuring: one thread, many connections, every mail looked at and none kept.
 *
 *   sink [--offer WORDS] [--delay MS] [--count N] [--held]
 *
 *   --offer    extensions of EHLO, by comma: PIPELINING,CHUNKING,8BITMIME,SMTPUTF8,SIZE,
 *              ENHANCEDSTATUSCODES,DSN (default: all of them; an empty word: none)
 *   --delay    milliseconds between the reading of a command and the moment its reply is sent. A delay line, not a
 *              working time: what comes together is answered together, that much later. It is the network's round trip.
 *   --count    the mails expected: the line "all" is printed when so many have been answered
 *   --held     no greeting before the word go
 *
 * Standard output: "port N" first. Standard input: `go` (greet whoever waits), `stats` (one line of JSON), `reset N`
 * (all counters to zero, N mails expected); its end is the sink's end. SIGTERM prints the line of JSON and ends. Times
 * are CLOCK_MONOTONIC seconds.
 *
 * What breaks a rule is counted in "violations": a bare CR or LF, a line over 998 bytes, a command out of order,
 * commands sent together without PIPELINING, BDAT or a parameter that was not offered. The program is the judge of a
 * race, so it takes the mail all the same.
 *
 * "trips" counts, for each connection, how often all had been answered and then something came again. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sink.h"

#define OUT_BYTES (64 * 1024)
#define MAX_CONNS 1024
#define FLIGHTS   65536 /* replies on their way at a time; a power of two */

const char *const violation_word[VIOLATIONS] = {
	"bare_cr",       "bare_lf",       "long_line",       "bad_order",     "not_offered",
	"not_pipelined", "early_content", "unknown_command", "no_message_id", "cut_short",
};

struct flight { /* replies that leave together */
	double due;
	unsigned conn;
	uint32_t life;
	uint16_t len;
	char text[240];
};

struct stats stats;
bool offered[EXTENSIONS];
double delay_s;
uint64_t expected;
static struct conn conns[MAX_CONNS];
static struct flight *flights;
static size_t flight_head, flight_tail; /* numbers that only grow */
static bool held;
static int epoll_fd, listen_fd;
static volatile sig_atomic_t ended;

double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *what)
{
	fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
	exit(1);
}

void violate(enum violation v)
{
	stats.violations[v]++;
}

/* ---- Replies and the delay line ---- */

static void conn_close(struct conn *c)
{
	if (!c->used) return;
	if (c->mail) violate(CUT_SHORT);
	close(c->fd);
	c->used = false;
	c->life++;
	stats.open--;
}

static void watch(struct conn *c, bool writing)
{
	struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0),
				.data.u32 = (uint32_t)(c - conns)};

	if (c->writing == writing) return;
	c->writing = writing;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void flush(struct conn *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			watch(c, true);
			return;
		}
		if (n < 0) {
			conn_close(c);
			return;
		}
		stats.writes++;
		c->out_at += (size_t)n;
		c->answered = true;
	}
	c->out_at = c->out_len = 0;
	watch(c, false);
	if (c->closing && c->waiting == 0) conn_close(c);
}

static void out_put(struct conn *c, const char *text, size_t len)
{
	if (c->out_len + len > OUT_BYTES) { /* who does not read its replies is not served */
		conn_close(c);
		return;
	}
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
}

void reply(struct conn *c, const char *text)
{
	size_t len = strlen(text);
	struct flight *f;

	if (delay_s <= 0) {
		out_put(c, text, len);
		return;
	}
	if (flight_tail - flight_head == FLIGHTS || len > sizeof(f->text)) {
		fprintf(stderr, "sink: the delay line is full\n");
		exit(1);
	}
	f = &flights[flight_tail++ & (FLIGHTS - 1)];
	f->due = now_s() + delay_s;
	f->conn = (unsigned)(c - conns);
	f->life = c->life;
	f->len = (uint16_t)len;
	memcpy(f->text, text, len);
	c->waiting++;
}

/* What is due by now; returns seconds to the next, below 0: none. */
static double flights_land(void)
{
	double now = now_s();
	unsigned touched[64], n = 0;

	while (flight_head < flight_tail) {
		struct flight *f = &flights[flight_head & (FLIGHTS - 1)];
		struct conn *c = &conns[f->conn];

		if (f->due > now || n == 64) break;
		flight_head++;
		if (!c->used || c->life != f->life) continue;
		c->waiting--;
		out_put(c, f->text, f->len);
		if (n == 0 || touched[n - 1] != f->conn) touched[n++] = f->conn;
	}
	for (unsigned i = 0; i < n; i++)
		if (conns[touched[i]].used) flush(&conns[touched[i]]);
	if (flight_head == flight_tail) return -1;
	double wait = flights[flight_head & (FLIGHTS - 1)].due - now_s();
	return wait > 0 ? wait : 0;
}

/* ---- Connections ---- */

static void greet(struct conn *c)
{
	reply(c, "220 sink.test ESMTP\r\n");
	c->waits_go = false;
	if (delay_s <= 0) flush(c);
}

static void conn_accept(void)
{
	int one = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *c = conns;
	struct epoll_event e = {.events = EPOLLIN};

	if (fd < 0) return;
	while (c < conns + MAX_CONNS && c->used)
		c++;
	if (c == conns + MAX_CONNS) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	uint32_t life = c->life;
	char *in = c->in ? c->in : malloc(IN_BYTES), *out = c->out ? c->out : malloc(OUT_BYTES);

	if (!in || !out) die("memory");
	memset(c, 0, sizeof(*c));
	c->in = in;
	c->out = out;
	c->life = life;
	c->fd = fd;
	c->used = true;
	e.data.u32 = (uint32_t)(c - conns);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll");
	stats.connections++;
	if (++stats.open > stats.most_open) stats.most_open = stats.open;
	if (held)
		c->waits_go = true;
	else
		greet(c);
}

static void conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	stats.reads++;
	stats.wire_bytes += (uint64_t)n;
	c->in_len += (size_t)n;
	if (c->answered && c->waiting == 0 && c->out_len == 0) {
		stats.trips++;
		c->answered = false;
	}
	smtp_work(c);
	if (c->used && c->in_len == IN_BYTES) { /* a command line without end */
		violate(UNKNOWN_COMMAND);
		conn_close(c);
	}
	if (c->used && delay_s <= 0) flush(c);
}

/* ---- The one who asks ---- */

static void put_count(const char *name, uint64_t n)
{
	printf("\"%s\":%llu,", name, (unsigned long long)n);
}

static void print_stats(void)
{
	putchar('{');
	put_count("mails", stats.mails);
	put_count("distinct", stats.distinct);
	put_count("doubled", stats.doubled);
	put_count("most_of_one", stats.most_of_one);
	put_count("bytes", stats.bytes);
	put_count("smallest", stats.smallest);
	put_count("largest", stats.largest);
	put_count("recipients", stats.recipients);
	put_count("wire_bytes", stats.wire_bytes);
	put_count("connections", stats.connections);
	put_count("open", stats.open);
	put_count("most_open", stats.most_open);
	put_count("commands", stats.commands);
	put_count("chunks", stats.chunks);
	put_count("refused_chunks", stats.refused);
	put_count("trips", stats.trips);
	put_count("reads", stats.reads);
	put_count("writes", stats.writes);
	printf("\"first\":%.6f,\"last\":%.6f,\"all\":%.6f,\"violations\":{", stats.first, stats.last,
	       stats.all);
	for (int i = 0, n = 0; i < VIOLATIONS; i++)
		if (stats.violations[i] > 0)
			printf("%s\"%s\":%llu", n++ ? "," : "", violation_word[i],
			       (unsigned long long)stats.violations[i]);
	printf("}}\n");
	fflush(stdout);
}

static void order(char *line)
{
	if (strcmp(line, "go") == 0) {
		held = false;
		for (struct conn *c = conns; c < conns + MAX_CONNS; c++)
			if (c->used && c->waits_go) greet(c);
		printf("going %.6f\n", now_s());
		fflush(stdout);
	} else if (strcmp(line, "stats") == 0) {
		print_stats();
	} else if (strncmp(line, "reset ", 6) == 0) {
		unsigned open = stats.open;

		memset(&stats, 0, sizeof(stats));
		stats.open = stats.most_open = open;
		content_forget();
		expected = strtoull(line + 6, NULL, 10);
		printf("reset\n");
		fflush(stdout);
	} else {
		fprintf(stderr, "sink: what is %s?\n", line);
	}
}

static bool orders(void)
{
	static char text[256];
	static size_t len;
	ssize_t n = read(0, text + len, sizeof(text) - 1 - len);

	if (n <= 0) return n < 0 && errno == EINTR;
	len += (size_t)n;
	for (char *lf; (lf = memchr(text, '\n', len));) {
		*lf = '\0';
		order(text);
		len -= (size_t)(lf - text) + 1;
		memmove(text, lf + 1, len);
	}
	return len < sizeof(text) - 1;
}

/* ---- main ---- */

static void offer(const char *words)
{
	memset(offered, 0, sizeof(offered));
	while (*words) {
		size_t n = strcspn(words, ",");
		int i = 0;

		while (i < EXTENSIONS &&
		       (strlen(extension_word[i]) != n || strncasecmp(extension_word[i], words, n)))
			i++;
		if (i < EXTENSIONS)
			offered[i] = true;
		else if (n > 0) {
			fprintf(stderr, "sink: what is %s?\n", words);
			exit(2);
		}
		words += n + (words[n] == ',');
	}
}

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static void options(int argc, char **argv)
{
	offer("PIPELINING,CHUNKING,8BITMIME,SMTPUTF8,SIZE,ENHANCEDSTATUSCODES,DSN");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--held") == 0) {
			held = true;
			continue;
		}
		if (i + 1 == argc) {
			fprintf(stderr, "sink [--offer WORDS] [--delay MS] [--count N] [--held]\n");
			exit(2);
		}
		if (strcmp(argv[i], "--offer") == 0)
			offer(argv[i + 1]);
		else if (strcmp(argv[i], "--delay") == 0)
			delay_s = strtod(argv[i + 1], NULL) / 1000;
		else if (strcmp(argv[i], "--count") == 0)
			expected = strtoull(argv[i + 1], NULL, 10);
		else {
			fprintf(stderr, "sink: what is %s?\n", argv[i]);
			exit(2);
		}
		i++;
	}
}

static void listen_on_loopback(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = MAX_CONNS};
	struct epoll_event in = {.events = EPOLLIN, .data.u32 = MAX_CONNS + 1};

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listen_fd, 128) < 0 || getsockname(listen_fd, (struct sockaddr *)&a, &len) < 0)
		die("listen");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &in) < 0)
		die("epoll");
	printf("port %d\n", ntohs(a.sin_port));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	struct sigaction term = {.sa_handler = on_term};

	options(argc, argv);
	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGINT, &term, NULL);
	flights = calloc(FLIGHTS, sizeof(*flights));
	if (!flights) die("memory");
	listen_on_loopback();
	while (!ended) {
		double wait = flights_land();
		struct timespec t = {.tv_sec = (time_t)wait,
				     .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9)};
		int n = epoll_pwait2(epoll_fd, events, 64, wait < 0 ? NULL : &t, NULL);

		for (int i = 0; i < n; i++) {
			unsigned who = events[i].data.u32;

			if (who == MAX_CONNS) {
				conn_accept();
			} else if (who == MAX_CONNS + 1) {
				if (!orders()) ended = 1;
			} else if (conns[who].used) {
				if (events[i].events & EPOLLOUT) flush(&conns[who]);
				if (conns[who].used && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
					conn_read(&conns[who]);
			}
		}
	}
	print_stats();
	return 0;
}
