#include "smtp_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "hal_clock.h"
#include "hal_storage.h"
#include "sim/sim.h"

struct kit kit;

static int body_read(void *arg, char *bytes, size_t cap)
{
	struct kit_body *b = arg;
	size_t len = b->len - b->at;

	if (b->fail < 0 && b->at >= b->fail_at) return b->fail;
	if (b->fail < 0 && len > b->fail_at - b->at) len = b->fail_at - b->at;
	if (b->chunk > 0 && len > b->chunk) len = b->chunk;
	if (len > cap) len = cap;
	memcpy(bytes, b->bytes + b->at, len);
	b->at += len;
	return (int)len;
}

static int body_rewind(void *arg)
{
	((struct kit_body *)arg)->at = 0;
	return 0;
}

static void on_note(void *arg, const struct smtp_mail *mail, enum smtp_note kind, enum smtp_command command,
		    struct str text)
{
	static const char marks[] = {'-', 'C', 'S'};
	size_t room = sizeof(kit.notes) - kit.notes_len;

	(void)arg;
	(void)mail;
	(void)command;
	if (text.len + 4 < room)
		kit.notes_len += (size_t)snprintf(kit.notes + kit.notes_len, room, "%c %.*s\n", marks[kind],
						  (int)text.len, text.ptr);
}

void kit_world(void)
{
	memset(&kit, 0, sizeof(kit));
	sim_reset();
	sim_faults()->net.split_percent = 0;
	sim_peer_listen(KIT_IP, KIT_PORT, smtp_peer_serve, &kit.peer);
	sim_peer_listen(KIT_LOOPBACK, KIT_PORT, smtp_peer_serve, &kit.peer);
	sim_dns_add(KIT_HOST, KIT_IP);
	kit.config = (struct smtp_config){
		.host = KIT_HOST, .port = KIT_PORT, .helo = "gw.example.net", .note = on_note};
}

void kit_plain(void)
{
	kit_world();
	kit.config.tls = SMTP_TLS_NONE;
}

static void tls_config(struct net_tls_config *c, struct net_tls_settings settings)
{
	struct buf why;

	buf_init(&why, kit.why, sizeof(kit.why));
	if (net_tls_config_init(c, &settings, &why) < 0) {
		fprintf(stderr, "kit: %s\n", kit.why);
		abort();
	}
}

void kit_tls(const char *server, const char *ca, enum smtp_tls mode)
{
	char path[64], ca_path[64];

	kit_world();
	kit.config.tls = mode;
	if (hal_storage_open("data") < 0 || net_init() < 0) abort();
	certs_install();
	snprintf(path, sizeof(path), "/certs/%s.pem", server);
	snprintf(ca_path, sizeof(ca_path), "/certs/%s", ca);
	tls_config(&kit.server_tls, (struct net_tls_settings){.side = NET_TLS_SERVER, .cert_path = path});
	kit.server_tls_set = true;
	tls_config(&kit.client_tls, (struct net_tls_settings){.side = NET_TLS_CLIENT, .ca_path = ca_path});
	kit.client_tls_set = true;
	kit.peer.tls = &kit.server_tls;
	kit.peer.caps = "STARTTLS,PIPELINING";
	kit.peer.caps_tls = "PIPELINING,AUTH PLAIN LOGIN,8BITMIME,SIZE 100000,SMTPUTF8";
	kit.peer.implicit_tls = mode == SMTP_TLS_IMPLICIT;
	kit.config.tls_config = &kit.client_tls;
}

void kit_mail(size_t rcpts, const char *content)
{
	static char names[KIT_RCPTS_MAX][40];

	memset(&kit.mail, 0, sizeof(kit.mail));
	memset(kit.rcpts, 0, sizeof(kit.rcpts));
	for (size_t i = 0; i < rcpts; i++) {
		snprintf(names[i], sizeof(names[i]), "r%zu@example.org", i + 1);
		kit.rcpts[i].addr = str_from(names[i]);
	}
	kit.body = (struct kit_body){.bytes = content, .len = strlen(content)};
	kit.mail = (struct smtp_mail){.from = STR("s@example.com"),
				      .rcpts = kit.rcpts,
				      .rcpt_count = rcpts,
				      .size = (int64_t)strlen(content),
				      .body = {body_read, body_rewind, &kit.body}};
}

int kit_open(void)
{
	smtp_init(&kit.smtp, &kit.config);
	kit.smtp_open = true;
	return smtp_open(&kit.smtp, HAL_FOREVER);
}

int kit_send(void)
{
	return smtp_send(&kit.smtp, &kit.mail, HAL_FOREVER);
}

/* ---- several mails ---- */

void kit_many(unsigned n, unsigned rcpts, size_t len)
{
	kit.many_count = n;
	kit.many_given = kit.many_done = kit.many_at_once = 0;
	for (unsigned i = 0; i < n; i++) {
		struct kit_one *one = &kit.many[i];
		size_t at;

		memset(one, 0, sizeof(*one));
		snprintf(one->from, sizeof(one->from), "s%u@example.com", i + 1);
		for (unsigned r = 0; r < rcpts; r++) {
			snprintf(one->to[r], sizeof(one->to[r]), "r%s%u@example.org",
				 r == 0   ? ""
				 : r == 1 ? "2-"
					  : "3-",
				 i + 1);
			one->rcpts[r].addr = str_from(one->to[r]);
		}
		at = (size_t)snprintf(one->content, sizeof(one->content), "Subject: %u\r\n\r\n", i + 1);
		while (at + 40 < len && at + 40 < sizeof(one->content))
			at += (size_t)sprintf(one->content + at, ".dot %zu and some more text\r\n", at);
		one->body = (struct kit_body){.bytes = one->content, .len = at};
		one->mail = (struct smtp_mail){.from = str_from(one->from),
					       .rcpts = one->rcpts,
					       .rcpt_count = rcpts,
					       .size = (int64_t)at,
					       .body = {body_read, body_rewind, &one->body},
					       .owner = one};
	}
}

static struct smtp_mail *many_next(void *arg)
{
	(void)arg;
	if (kit.many_given == kit.many_count) return NULL;
	if (kit.many_given - kit.many_done + 1 > kit.many_at_once)
		kit.many_at_once = kit.many_given - kit.many_done + 1;
	return &kit.many[kit.many_given++].mail;
}

static void many_done(void *arg, struct smtp_mail *mail)
{
	struct kit_one *one = mail->owner;

	(void)arg;
	one->done++;
	one->order = ++kit.many_done;
}

static void many_written(void *arg, struct smtp_mail *mail)
{
	struct kit_one *one = mail->owner;

	(void)arg;
	one->written += one->done == 0 ? 1 : 100;
}

int kit_run(void)
{
	static const struct smtp_supply supply = {many_next, many_done, many_written, NULL};

	return smtp_run(&kit.smtp, &supply, HAL_FOREVER);
}

const char *kit_many_wrong(void)
{
	for (unsigned i = 0; i < kit.many_given; i++) {
		const struct kit_one *one = &kit.many[i];

		if (one->done != 1) return "not done once";
		if (one->written != 1) return "not written once, before it was done";
		if (one->order != i + 1) return "done out of order";
		if (one->mail.verdict.class == SMTP_NONE) return "done without a verdict";
		for (size_t r = 0; r < one->mail.rcpt_count; r++)
			if (one->rcpts[r].verdict.class == SMTP_NONE) return "a recipient without a verdict";
	}
	return NULL;
}

const struct smtp_peer_taken *kit_taken(unsigned i)
{
	for (unsigned n = 0; n < kit.peer.taken_count; n++)
		if (strcmp(kit.peer.taken[n].from, kit.many[i].from) == 0) return &kit.peer.taken[n];
	return NULL;
}

void kit_close(void)
{
	if (kit.smtp_open) smtp_close(&kit.smtp);
	kit.smtp_open = false;
}

enum smtp_class kit_all(void)
{
	enum smtp_class class = SMTP_HOLD;

	if (kit_open() == 0) {
		kit_send();
		class = kit.rcpts[0].verdict.class;
	}
	kit_close();
	return class;
}

void kit_end(void)
{
	kit_close();
	/* The peers' threads end before their configuration does. */
	hal_clock_sleep_until(hal_clock_in(4 * 3600 * 1000));
	if (kit.client_tls_set) net_tls_config_close(&kit.client_tls);
	if (kit.server_tls_set) net_tls_config_close(&kit.server_tls);
	sim_reset();
}
