ROOM := job
SRCS := job_decode.c job_address.c job_idna.c job_digest.c job_envelope.c job_names.c job_parts.c job_result.c job_text.c job_raw.c job_raw_header.c job_words.c job_headers.c job_list.c job_nfc.c
