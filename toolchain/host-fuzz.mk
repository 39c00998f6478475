# host by clang with libFuzzer, ASan and UBSan: builds the programs of test/fuzz only.
TC_CC := clang
TC_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
TC_LDFLAGS := -fsanitize=fuzzer,address,undefined
TC_FUZZ := 1
