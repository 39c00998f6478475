/* The schema, its versions, and how a connection is set up. */
#include <stdio.h>
#include <string.h>

#include "store/store_internal.h"

/* Few pages are touched for a mail: what belongs to one job lies together (rowids built from the job's id), a
 * mail to one recipient has no row in rcpt, the last try is in the job's row, and the two indexes are
 * partial. src is apart, so that a new state does not write the original again. */
static const char schema_1[] =
	"CREATE TABLE meta(name TEXT PRIMARY KEY,value) WITHOUT ROWID;"
	"CREATE TABLE job(id INTEGER PRIMARY KEY,state INTEGER NOT NULL,reason INTEGER,priority "
	"INTEGER,provider TEXT,"
	"due_ms INTEGER,expires_ms INTEGER,clock INTEGER,retry_count INTEGER,rcpt_count INTEGER,rcpt_kind "
	"INTEGER,"
	"rcpt_settled INTEGER,created_ms INTEGER,updated_ms INTEGER,first_failure_ms INTEGER,event_seq "
	"INTEGER,"
	"accept_seq INTEGER,try_n INTEGER,try_started_ms INTEGER,try_ended_ms INTEGER,try_next_ms INTEGER,"
	"try_code INTEGER,try_host TEXT,try_text TEXT,error TEXT,provider_message_id TEXT,src_len INTEGER,"
	"src_sum INTEGER,tenant_id TEXT,message_id TEXT,digest BLOB,rcpt TEXT,to_text TEXT,subject "
	"TEXT,user_id TEXT,"
	"template_id TEXT,campaign_id TEXT,email_type TEXT,source_app TEXT,related_model_id TEXT);"
	"CREATE INDEX job_due ON job(provider,priority,due_ms,expires_ms) WHERE state=0;"
	"CREATE INDEX job_ended ON job(state,id,updated_ms) WHERE state>=2;"
	"CREATE TABLE src(id INTEGER PRIMARY KEY,bytes BLOB);"
	"CREATE TABLE rcpt(id INTEGER PRIMARY KEY,kind INTEGER,state INTEGER,code INTEGER,address TEXT,text "
	"TEXT);"
	"CREATE TABLE attempt(id INTEGER PRIMARY KEY,started_ms INTEGER,ended_ms INTEGER,next_ms "
	"INTEGER,code INTEGER,"
	"host TEXT,text TEXT);"
	"CREATE TABLE event(seq INTEGER PRIMARY KEY,job_id INTEGER,at_ms INTEGER,json TEXT);"
	"CREATE TABLE ident(tenant_id TEXT,message_id TEXT,job_id INTEGER,digest BLOB,gone_ms INTEGER,"
	"gone_state INTEGER,PRIMARY KEY(tenant_id,message_id)) WITHOUT ROWID;";

/* Transcripts have the key of their attempt, that of the last hold number 0. Apart from both, for they are long,
 * and the job's page would not hold them. */
static const char schema_2[] = "CREATE TABLE log(id INTEGER PRIMARY KEY,at_ms INTEGER,text TEXT);";

/* Step n leads from version n to n + 1. A step keeps the database readable by the program before it: it adds
 * tables, indexes, and columns at the end; store_pages.c must know the number of columns. */
static const char *const migrations[STORE_VERSION] = {schema_1, schema_2};

#define PROGRESS_STEPS 10000 /* of SQLite's machine: a few ms of a slow processor */

static int db_migrate(struct store *s, int64_t version)
{
	char sql[64];
	int rc = 0;

	if (version == STORE_VERSION) return 0;
	rc = store_begin(s);
	for (int64_t v = version; rc == 0 && v < STORE_VERSION; v++)
		rc = store_exec(s, migrations[v]);
	snprintf(sql, sizeof sql, "PRAGMA user_version=%d", STORE_VERSION);
	if (rc == 0) rc = store_exec(s, sql);
	if (rc == 0) rc = store_commit(s);
	/* SQLite leaves the name of a new database to us. */
	if (rc == 0) rc = hal_storage_sync_dir("");
	if (rc < 0) {
		store_rollback(s);
		return rc;
	}
	log_info("store", "schema migrated", LOG_INT("from", version), LOG_INT("to", STORE_VERSION));
	return 0;
}

static int db_version(struct store *s, int64_t *version)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL);

	if (rc) return store_err(s, rc);
	rc = sqlite3_step(st);
	*version = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return store_err(s, rc);
}

static int wal_grew(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct store *s = arg;

	(void)db;
	(void)name;
	s->wal_frames = frames;
	return SQLITE_OK;
}

/* One statement may look at the whole database. */
static int still_running(void *arg)
{
	store_progress(arg);
	return 0;
}

/* The WAL keeps the size it was given once: to cut it after each checkpoint would cost the file system new blocks,
 * and a sync of its journal, with each commit. */
static int db_configure(struct store *s)
{
	static const char always[] =
		"PRAGMA locking_mode=EXCLUSIVE; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;"
		"PRAGMA cache_size=-200; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA "
		"secure_delete=FAST;";
	char sql[160];

	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_wal_hook(s->db, wal_grew, s);
	sqlite3_progress_handler(s->db, PROGRESS_STEPS, still_running, s);
	snprintf(sql, sizeof sql, "PRAGMA synchronous=%s; PRAGMA journal_size_limit=%d",
		 s->config.durability_full ? "FULL" : "NORMAL", STORE_WAL_BYTES);
	int rc = store_exec(s, always);
	return rc < 0 ? rc : store_exec(s, sql);
}

/* All statements at once: what the schema lacks shows now, and later no memory is asked for them. */
static int db_prepare_all(struct store *s)
{
	for (int i = 0; i < SQL_COUNT; i++) {
		sqlite3_stmt *st;
		int rc = store_query(s, (enum store_sql)i, &st, "");

		if (rc < 0 && sqlite3_errcode(s->db) == SQLITE_ERROR) {
			s->trouble = STORE_TROUBLE_CORRUPT;
			return ERR_CORRUPT;
		}
		if (rc < 0) return rc;
	}
	return 0;
}

static int db_set_up(struct store *s)
{
	int64_t version = 0;
	int rc = db_configure(s);

	if (rc == 0) rc = db_version(s, &version);
	if (rc < 0) return rc;
	if (version > STORE_VERSION) return ERR_NEWER;
	if (!s->read_only) {
		/* Both count only while the file is empty, and must come before the WAL. */
		if (version == 0) rc = store_exec(s, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL");
		if (rc == 0) rc = store_exec(s, "PRAGMA journal_mode=WAL");
		if (rc == 0) rc = db_migrate(s, version);
	} else if (version < STORE_VERSION) {
		rc = ERR_READ_ONLY;
	}
	if (rc == 0) rc = db_prepare_all(s);
	if (rc == 0 && !s->read_only) store_space_limit(s);
	return rc;
}

static int db_connect(struct store *s, const char *name, bool immutable)
{
	char path[HAL_PATH_MAX * 2], uri[HAL_PATH_MAX * 2 + 32];
	int rc = hal_storage_path(name, path, sizeof path);

	if (rc < 0) return rc;
	snprintf(uri, sizeof uri, immutable ? "file:%s?immutable=1" : "%s", path);
	rc = sqlite3_open_v2(uri, &s->db,
			     immutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
				       : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			     hal_storage_vfs());
	if (rc == SQLITE_OK) sqlite3_extended_result_codes(s->db, 1);
	s->read_only = rc == SQLITE_OK && sqlite3_db_readonly(s->db, "main") == 1;
	return store_err(s, rc);
}

bool store_is_writable(void)
{
	struct hal_file probe;

	int rc = hal_file_open(&probe, "postern.probe", HAL_FILE_CREATE);
	if (rc == 0) hal_file_close(&probe);
	if (rc == 0 || rc == ERR_EXISTS) hal_storage_remove("postern.probe");
	return rc != ERR_READ_ONLY;
}

int store_db_open(struct store *s, const char *name)
{
	s->trouble = STORE_TROUBLE_NONE;
	int rc = db_connect(s, name, false);
	if (rc == 0) rc = db_set_up(s);
	bool writable = rc == 0 && !s->read_only;
	if (rc == 0 || s->trouble == STORE_TROUBLE_CORRUPT || rc == ERR_NEWER) goto out;

	/* A file system that has become read-only: without a WAL the database can still be read as it lies
	 * there. */
	char wal[64];
	snprintf(wal, sizeof wal, "%s-wal", name);
	if ((rc != ERR_IO && rc != ERR_READ_ONLY) || hal_storage_size(name) <= 0 || hal_storage_size(wal) > 0)
		goto out;
	if (store_is_writable()) goto out;
	store_db_close(s, false);
	rc = db_connect(s, name, true);
	if (rc == 0) rc = db_set_up(s);
out:
	if (rc < 0) {
		enum store_trouble trouble = s->trouble;
		store_db_close(s, false);
		s->trouble = trouble;
		return rc;
	}
	if (!writable) log_warn("store", "storage is read-only -> submissions are refused");
	s->trouble = STORE_TROUBLE_NONE;
	return 0;
}

void store_db_close(struct store *s, bool gently)
{
	if (!s->db) return;
	store_rollback(s);
	store_finalize_all(s);
	if (!gently) sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	int rc = sqlite3_close(s->db);
	CHECK(rc == SQLITE_OK); /* only unfinalized statements make it fail */
	s->db = NULL;
}

int store_meta_set(struct store *s, const char *name, int64_t value)
{
	int rc = store_write(s, SQL_META_PUT, "zi", name, value);

	return rc < 0 ? rc : 0;
}

static int count_ids(struct store *s, struct store_tally *t)
{
	int64_t kept;
	int rc = store_number(s, SQL_JOB_LAST, &t->last_id, "");

	if (rc >= 0) rc = store_number(s, SQL_META_GET, &kept, "z", "last_id");
	if (rc >= 0 && kept > t->last_id) t->last_id = kept;
	if (rc >= 0) rc = store_number(s, SQL_EVENT_LAST, &t->last_seq, "");
	if (rc >= 0) rc = store_number(s, SQL_META_GET, &kept, "z", "last_seq");
	if (rc >= 0 && kept > t->last_seq) t->last_seq = kept;
	if (rc >= 0) rc = store_number(s, SQL_EVENT_FIRST, &t->first_seq, "");
	return rc;
}

int store_count(struct store *s)
{
	struct store_tally t = {.next_expiry_ms = INT64_MAX, .src_room = -1};
	int64_t last, next;
	int rc = count_ids(s, &t);

	if (rc >= 0) rc = store_number(s, SQL_COUNT_PENDING, &t.count[JOB_PENDING], "");
	if (rc >= 0) rc = store_number(s, SQL_COUNT_ENDED, &t.count[JOB_COMPLETED], "i", I64(JOB_COMPLETED));
	if (rc >= 0) rc = store_number(s, SQL_COUNT_ENDED, &t.count[JOB_FAILED], "i", I64(JOB_FAILED));
	if (rc >= 0) rc = store_number(s, SQL_NEXT_EXPIRY, &next, "");
	if (rc >= 0 && next) t.next_expiry_ms = next;
	if (rc >= 0) rc = store_number(s, SQL_LAST_COMPLETED, &last, "");
	if (rc >= 0 && last) rc = store_number(s, SQL_UPDATED, &t.last_success_ms, "i", last);
	if (rc < 0) return rc;
	s->tally = t;
	/* Perhaps it is another database than before. */
	for (size_t i = 0; i < s->claims_used; i++)
		s->claims[i].known = false;
	store_job_due(s, STORE_DUE_ANY);
	store_space_measure(s);
	return 0;
}
