/* provider/maildir: delivers a mail into a directory (https://cr.yp.to/proto/maildir.html), safe against
 * power cuts.
 *
 * Written to tmp/, synced, renamed into new/, directory synced: only then is it SENT. The file's name is
 * made from the Message-ID alone, so a mail delivered again after a crash finds itself and is not there
 * twice (unless a reader has meanwhile moved it on under flags that are not looked for).
 *
 * At the top stand Return-Path and a Delivered-To for each visible recipient; a Bcc is never written.
 * Lines end in LF, as the files of local mail do.
 */
#ifndef POSTERN_PROVIDER_MAILDIR_H
#define POSTERN_PROVIDER_MAILDIR_H

#include "job/job.h"
#include "smtp/smtp.h"

#define MAILDIR_NAME_CAP 48

struct maildir_mail {
	const struct smtp_mail *mail; /* its sender, and its body, which is read from the beginning */
	const struct job *job;
	struct str message_id;
	char name[MAILDIR_NAME_CAP]; /* out: the file's */
	struct smtp_verdict verdict; /* out: SENT; FAIL: it cannot be composed; HOLD: it cannot be stored */
};

/* path: absolute or below the storage root. *made: whether this process has made and synced the
 * directories; kept by the caller for each path, false at first. Returns verdict.err. */
int maildir_deliver(const char *path, bool *made, struct maildir_mail *m);

#endif
