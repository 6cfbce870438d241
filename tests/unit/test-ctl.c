/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl's command line, exit status and what needs no daemon, by running it. */
#include "base/macros.h"
#include "support/cmocka-includes.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CTL    COFRIS_BINARY_DIR "/bin/cofrisctl --bus unix:path=/nonexistent/bus "
#define BROKEN "/tmp/cofris-test-ctl.conf"

static int run(const char *arguments, char *ret_output, size_t size)
{
	char command[512];
	FILE *pipe;
	size_t n;
	int status;

	(void)snprintf(command, sizeof(command), CTL "%s 2>&1", arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	n = fread(ret_output, 1, size - 1, pipe);
	ret_output[n] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int write_broken(void **state _unused_)
{
	FILE *file = fopen(BROKEN, "w");

	if (!file || fputs("[daemon]\npoll_interval = 500\n", file) < 0)
		return -1;
	return fclose(file);
}

static int remove_broken(void **state _unused_)
{
	return remove(BROKEN);
}

static void test_each_end_has_its_exit_status(void **state _unused_)
{
	static const struct {
		const char *arguments;
		int status;
		const char *part;
	} cases[] = {
		{"help", 0, "Usage: cofrisctl"},
		{"--help", 0, "Usage: cofrisctl"},
		{"version", 0, "cofrisctl " COFRIS_VERSION},
		{"--version", 0, "cofrisctl " COFRIS_VERSION},
		{"version --json", 0, "\"cofrisd\": null"},
		{"config check " COFRIS_SOURCE_DIR "/systemd/cofris.conf", 0, "ok: 0 [gpu] and"},
		{"--json config check " COFRIS_SOURCE_DIR "/systemd/cofris.conf", 0,
		 "\"ok\": true"},
		{"config check " BROKEN, 1,
		 BROKEN ":2: poll_interval = 500: expected a duration with its unit"},
		{"config check --json " BROKEN, 1, "\"line\": 2"},
		{"config check --json \"$(printf '/nonexistent/\\377\\303.conf')\"", 1,
		 "\"file\": \"/nonexistent/??.conf\""},
		{"config check /nonexistent.conf", 1, "/nonexistent.conf: No such file"},
		{"", 2, "No command"},
		{"statsu", 2, "did you mean 'status'"},
		{"zzzzzzzz", 2, "Unknown command"},
		{"--nonsense", 2, "nonsense"},
		{"table", 2, "Usage: cofrisctl table MODEL"},
		{"status x", 2, "Usage: cofrisctl status"},
		{"config", 2, "Usage: cofrisctl config check"},
		{"debug", 2, "Usage: cofrisctl debug bundle"},
		{"debug tar", 2, "expected 'debug bundle'"},
		{"help hold", 0, "Usage: cofrisctl hold MODEL [-- COMMAND...]"},
		{"pause --help", 0, "--for TIME"},
		{"config check --help", 0, "Usage: cofrisctl config check [FILE]"},
		{"help --json", 0, "\"name\": \"config check\""},
		{"help hold --json", 0, "\"--level\""},
		{"help statsu", 2, "Unknown command 'statsu'"},
		{"statsu --help", 2, "did you mean 'status'"},
		{"config show", 2, "expected 'config check'"},
		{"status", 3, "Failed to connect to the bus"},
		{"status --json", 3, "Failed to connect to the bus"},
		{"table resnet50", 3, "Failed to connect to the bus"},
		{"cap", 3, "Failed to connect to the bus"},
		{"cap --json", 3, "Failed to connect to the bus"},
		{"cap 0000:43:00.0", 3, "Failed to connect to the bus"},
		{"cap 150W", 3, "Failed to connect to the bus"},
		{"cap 0000:43:00.0 off", 3, "Failed to connect to the bus"},
		{"cap 150", 2, "'150': expected a power with its unit"},
		{"cap 0.5W", 2, "1W to 2000W"},
		{"cap 2001W", 2, "1W to 2000W"},
		{"cap none", 2, "'off' or 'config'"},
		{"cap 0000:43:00 150W", 2, "'0000:43:00' is no PCI address"},
		{"cap 0000:43:00.0x 150W", 2, "is no PCI address"},
		{"cap 0000:43:00.0 150W 3", 2, "Usage: cofrisctl cap"},
		{"explain", 3, "Failed to connect to the bus"},
		{"explain 0000:43:00.0 --model resnet50 --rps 12.5", 3, "Failed to connect"},
		{"explain --last 20 --json", 3, "Failed to connect to the bus"},
		{"explain 0000:43:00", 2, "'0000:43:00' is no PCI address"},
		{"explain 0000:43:00.0 resnet50", 2, "Usage: cofrisctl explain [GPU]"},
		{"explain --rps -1", 2, "--rps -1: expected requests per second"},
		{"explain --rps nan", 2, "expected requests per second"},
		{"explain --rps 2e9", 2, "0 to 1e+09"},
		{"explain --rps", 2, "requires an argument"},
		{"explain --model ..", 2, "no name of a model"},
		{"explain --last 0", 2, "expected a number of decisions, 1 to 1000"},
		{"explain --last 1001", 2, "1 to 1000"},
		{"explain --last 5 --rps 3", 2, "one of them"},
		{"status --rps 5", 2, "--rps is no option of 'cofrisctl status'"},
		{"pause --level rated", 2, "--level is no option of 'cofrisctl pause'"},
		{"reload", 3, "Failed to connect to the bus"},
		{"hold", 2, "Usage: cofrisctl hold MODEL"},
		{"hold resnet50", 3, "Failed to connect to the bus"},
		/* Nothing is run that cannot be held. */
		{"hold '*' -- echo was-run", 3, "Failed to connect to the bus"},
		{"hold .. -- true", 2, "'..' is no name of a model"},
		{"hold resnet50 --level full", 2, "expected 'full-speed' or 'rated'"},
		{"hold resnet50 --reason \"$(printf 'a\\nb')\"", 2, "in one line"},
		{"hold resnet50 --reason \"$(printf '%201s')\"", 2, "at most 200 bytes"},
		{"hold resnet50 --reason \"$(printf 'a\\377')\"", 2, "bytes of text"},
		{"pause", 3, "Failed to connect to the bus"},
		{"pause 0000:43:00.0 --for 2h --reason maintenance", 3, "Failed to connect"},
		{"pause 43:00.0", 2, "'43:00.0' is no PCI address"},
		{"pause --for 2", 2, "expected a time with its unit"},
		{"pause --for 500ms", 2, "at least 1s"},
		{"pause --for 1000000h", 2, "expected a time with its unit"},
		{"resume", 3, "Failed to connect to the bus"},
		{"resume x", 2, "'x' is no PCI address"},
		{"verify", 3, "Failed to connect to the bus"},
		{"verify 0000:43:00.0 x", 2, "Usage: cofrisctl verify [GPU]"},
		{"health", 3, "cofris UNKNOWN: Failed to connect to the bus"},
		/* 2 would be critical. */
		{"health x", 3, "Usage: cofrisctl health"},
		{"health --rps 5", 3, "--rps is no option of 'cofrisctl health'"},
		{"--nonsense health", 3, "nonsense"},
		{"--json health --bus", 3, "requires an argument"},
		{"health --help --nonsense", 3, "nonsense"},
		{"status --nonsense", 2, "nonsense"},
		{"metrics", 3, "Failed to connect to the bus"},
		{"top", 3, "Failed to connect to the bus"},
		{"top --once", 3, "Failed to connect to the bus"},
		{"completion gpus", 3, "Failed to connect to the bus"},
		{"completion zsh", 2, "Usage: cofrisctl completion"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char output[4096];
		int status = run(cases[i].arguments, output, sizeof(output));

		if (status != cases[i].status || !strstr(output, cases[i].part))
			fail_msg("cofrisctl %s: status %d: %s", cases[i].arguments, status, output);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_end_has_its_exit_status),
	};

	return cmocka_run_group_tests(tests, write_broken, remove_broken);
}
