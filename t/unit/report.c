/* SPDX-License-Identifier: BSD-3-Clause */
/* report: what recovery tells fits, however much there is to tell, and the first of it stays. */
#include "persist/recover_private.h"
#include "unit.h"

static struct recovery rec;
static struct recover_result result;
static struct hearth_error err;
static const struct recover_options none;

static int begin(void **state)
{
	(void)state;
	memset(&result, 0, sizeof(result));
	memset(&err, 0, sizeof(err));
	rec.options = &none;
	rec.result = &result;
	rec.err = &err;
	return 0;
}

static void notes_are_cut_at_the_end(void **state)
{
	(void)state;
	recover_progress(&rec); /* nobody asked for it */
	for (unsigned i = 0; i < 300; i++) {
		recover_note(&rec, "note %u;", i);
		assert_true(strlen(result.note) < sizeof(result.note));
	}
	assert_memory_equal(result.note, "note 0; note 1; ", 16);
	assert_int_equal(strlen(result.note), sizeof(result.note) - 1);
}

static void files_are_listed_once_and_no_more_than_fit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * (RECOVER_ASIDE_MAX + 10); i++) {
		char name[DATADIR_NAME_SIZE];
		datadir_name(DATADIR_LOG, i / 2, name);
		recover_set_aside(&rec, name);
		recover_forget(&rec, i);
	}
	assert_int_equal(result.n_aside, RECOVER_ASIDE_MAX);
	assert_string_equal(result.aside[7], "log-0000000007");
	assert_int_equal(result.n_forget, RECOVER_ASIDE_MAX);
	assert_int_equal(result.forget[RECOVER_ASIDE_MAX - 1], RECOVER_ASIDE_MAX - 1);
}

static void the_first_damage_is_the_error(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		recover_damage(&rec, i ? "log-0000000002" : "log-0000000001", 100 + i, "is bad");
	assert_int_equal(result.damaged, 5);
	assert_int_equal(result.n_aside, 2);
	assert_int_equal(err.status, HEARTH_DAMAGED);
	assert_string_equal(err.file, "log-0000000001");
	assert_int_equal(err.offset, 100);
	assert_non_null(strstr(result.note, "at offset 102"));
	assert_null(strstr(result.note, "at offset 103"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(notes_are_cut_at_the_end, begin),
    cmocka_unit_test_setup(files_are_listed_once_and_no_more_than_fit, begin),
    cmocka_unit_test_setup(the_first_damage_is_the_error, begin),
};
UNIT_MAIN(tests)
