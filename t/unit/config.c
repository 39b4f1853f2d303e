/* SPDX-License-Identifier: BSD-3-Clause */
/* config: the table of options against memcached's letters and names, and what reading them gives. The source itself is
 * included: it belongs to the program, not to the library that tests link. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../src/config.c"
#include "../../src/config_file.c"
#include "../../src/config_value.c"

/* memcached 1.6.45's, with a value where one is needed. */
static const struct {
	char letter;
	const char *name, *value;
} known[] = {
    {'a', "unix-mask", "0700"},
    {'A', "enable-shutdown", NULL},
    {'p', "port", "11999"},
    {'s', "unix-socket", "/tmp/x"},
    {'U', "udp-port", "0"},
    {'m', "memory-limit", "100"},
    {'M', "disable-evictions", NULL},
    {'c', "conn-limit", "77"},
    {'k', "lock-memory", NULL},
    {'r', "enable-coredumps", NULL},
    {'v', "verbose", NULL},
    {'d', "daemon", NULL},
    {'l', "listen", "127.0.0.1"},
    {'u', "user", "root"},
    {'P', "pidfile", "/tmp/y"},
    {'f', "slab-growth-factor", "1.25"},
    {'n', "slab-min-size", "48"},
    {'t', "threads", "2"},
    {'D', NULL, ":"},
    {'L', "enable-largepages", NULL},
    {'R', "max-reqs-per-event", "5"},
    {'C', "disable-cas", NULL},
    {'b', "listen-backlog", "10"},
    {'B', "protocol", "auto"},
    {'I', "max-item-size", "2m"},
    {'F', "disable-flush-all", NULL},
    {'X', "disable-dumping", NULL},
    {'W', "disable-watch", NULL},
    {'o', "extended", "modern"},
    {'N', "napi-ids", "2"},
};

/* Reads up to three words; the verdict, with *c to look at. */
static bool reads(struct config *c, int *code, const char *a, const char *b, const char *d)
{
	char *argv[] = {(char *)"hearthd", (char *)a, (char *)b, (char *)d, NULL};
	int argc = 1;
	while (argv[argc])
		argc++;
	config_free(c);
	return config_read(c, argc, argv, NULL, code);
}

static void test_known(void **state)
{
	struct config c = {0};
	char letter[4] = "-?", name[64];
	int code;

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		letter[1] = known[i].letter;
		assert_true(reads(&c, &code, letter, known[i].value, NULL));
		if (!known[i].name)
			continue;
		snprintf(name, sizeof name, "--%s%s%s", known[i].name, known[i].value ? "=" : "",
		    known[i].value ? known[i].value : "");
		assert_true(reads(&c, &code, name, NULL, NULL));
	}
	config_free(&c);
}

static void test_refused(void **state)
{
	static const char *const args[][2] = {{"-S", NULL}, {"--enable-sasl", NULL}, {"-Y", "f"},
	    {"-Z", NULL}, {"-e", "f"}, {"-B", "both"}, {"-B", "x"}, {"-o", "ext_path=/x:1G"},
	    {"-o", "ssl_key=x"}, {"-o", "nonsense"}, {"-o", "modern,nonsense"}, {"-m", "x"}, {"-m", "0"},
	    {"-m", "-1"}, {"-m", "64m"}, {"-m", NULL}, {"-m", ""}, {"-p", "65536"}, {"-p", " 1"}, {"-t", "0"},
	    {"-c", "0"}, {"-I", "1023"}, {"-I", "1025m"}, {"-I", "33m"}, {"-I", "1x"},
	    {"-I", "9223372036854775807g"}, {"-R", "0"}, {"-a", "8"}, {"--fsync", "never"},
	    {"--fsync", "alway"}, {"--fsync", NULL}, {"--eviction", ""}, {"--keep", "0"},
	    {"--snapshot-interval", "-1"}, {"--no-such", NULL}, {"-Q", NULL}, {"word", NULL},
	    {"--strict=2", NULL}, {"--data-dir", ""}};
	struct config c = {0};
	int code;

	(void)state;
	for (size_t i = 0; i < sizeof args / sizeof args[0]; i++) {
		code = -1;
		assert_false(reads(&c, &code, args[i][0], args[i][1], NULL));
		assert_int_equal(code, HEARTH_EXIT_USAGE);
	}
	config_free(&c);
}

static void test_defaults(void **state)
{
	struct config c = {0};
	int code;

	(void)state;
	assert_true(reads(&c, &code, NULL, NULL, NULL));
	assert_int_equal(c.server.port, 11211);
	assert_null(c.server.listen);
	assert_int_equal(c.server.unix_mask, 0700);
	assert_int_equal(c.server.backlog, 1024);
	assert_int_equal(c.server.max_conns, 1024);
	assert_int_equal(c.server.workers, 4);
	assert_int_equal(c.engine.workers, 4);
	assert_int_equal(c.server.turn_requests, 20);
	assert_true(c.server.maxconns_fast);
	assert_false(c.server.test_commands);
	assert_int_equal(c.engine.memory, 64 << 20);
	assert_int_equal(c.engine.item_max, 1 << 20);
	assert_int_equal(c.engine.fsync, ENGINE_FSYNC_EVERYSEC);
	assert_int_equal(c.engine.policy, ENGINE_S3FIFO);
	assert_int_equal(c.engine.snapshot_interval, 3600);
	assert_int_equal(c.engine.snapshot_ratio, 100);
	assert_int_equal(c.engine.keep, 1);
	config_free(&c);
}

static void test_values(void **state)
{
	struct config c = {0};
	int code;

	(void)state;
	assert_true(reads(&c, &code, "-m100", "-I", "512k"));
	assert_int_equal(c.engine.memory, 100 << 20);
	assert_int_equal(c.server.item_max, 512 << 10);
	assert_true(reads(&c, &code, "--fsync=always", "--eviction", "lru"));
	assert_int_equal(c.engine.fsync, ENGINE_FSYNC_ALWAYS);
	assert_int_equal(c.engine.policy, ENGINE_LRU);
	assert_true(reads(&c, &code, "-l127.0.0.1", "-l", "::1"));
	assert_string_equal(c.server.listen, "127.0.0.1,::1");
	assert_true(reads(&c, &code, "-vv", "-vM", NULL));
	assert_int_equal(c.server.verbosity, 3);
	assert_true(c.server.no_evict);
	assert_true(reads(&c, &code, "-o", "no_maxconns_fast,hashpower=20,,tail_repair_time=1", NULL));
	assert_false(c.server.maxconns_fast);
	assert_non_null(strstr(c.without_effect, "-o hashpower"));
	assert_non_null(strstr(c.without_effect, "-o tail_repair_time"));
	assert_true(reads(&c, &code, "-p", "-1", NULL));
	assert_int_equal(c.server.port, 0);
	/* The default of -I gives way to a small -m; a named one does not. */
	assert_true(reads(&c, &code, "-m", "1", NULL));
	assert_int_equal(c.engine.item_max, 512 << 10);
	assert_false(reads(&c, &code, "-m1", "-I", "1m"));
	assert_true(reads(&c, &code, "-m8192", "-I", "1024m"));
	assert_false(reads(&c, &code, "-m8192", "-I", "1025m"));
	config_free(&c);
}

static void test_data_dir(void **state)
{
	struct config c = {0};
	int code;
	bool none;

	(void)state;
	unsetenv("HEARTH_DATA_DIR");
	assert_true(reads(&c, &code, "-p", "5", NULL));
	char *path = config_data_dir(&c, 5, &none), *here = getcwd(NULL, 0);
	assert_int_equal(path[0], '/');
	assert_memory_equal(path, here, strlen(here));
	assert_string_equal(path + strlen(here), "/hearth-data-5");
	free(path);
	free(here);
	assert_true(reads(&c, &code, "--data-dir=none", NULL, NULL));
	assert_null(config_data_dir(&c, 5, &none));
	assert_true(none);
	setenv("HEARTH_DATA_DIR", "/env", 1);
	assert_true(reads(&c, &code, NULL, NULL, NULL));
	path = config_data_dir(&c, 5, &none);
	assert_string_equal(path, "/env");
	free(path);
	assert_true(reads(&c, &code, "--data-dir", "/flag", NULL));
	path = config_data_dir(&c, 5, &none);
	assert_string_equal(path, "/flag");
	free(path);
	setenv("HEARTH_DATA_DIR", "", 1);
	assert_false(reads(&c, &code, NULL, NULL, NULL));
	assert_int_equal(code, HEARTH_EXIT_CONFIG);
	unsetenv("HEARTH_DATA_DIR");
	config_free(&c);
}

/* Rows agree with themselves: letters and names once each, and a text for help. */
static void test_table(void **state)
{
	struct config_option o, other;
	char *help = NULL;
	size_t size = 0, n = 0;

	(void)state;
	FILE *out = open_memstream(&help, &size);
	config_help(out);
	fclose(out);
	for (; config_option(n, &o); n++) {
		assert_true(o.letter || o.name);
		assert_non_null(o.help);
		for (size_t i = 0; i < n; i++) {
			assert_true(config_option(i, &other));
			assert_true(!o.letter || o.letter != other.letter);
			assert_true(!o.name || !other.name || strcmp(o.name, other.name) != 0);
		}
		if (o.name)
			assert_non_null(strstr(help, o.name));
	}
	assert_true(n > 40);
	assert_non_null(strstr(help, "HEARTH_SNAPSHOT_INTERVAL"));
	free(help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_data_dir),
	    cmocka_unit_test(test_table),
	};
	msg_init("config", 0);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
