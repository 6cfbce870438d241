/* SPDX-License-Identifier: Apache-2.0 */
#include "simulated.h"
#include "base/units.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <time.h>

static struct {
	struct sim_machine *machine;
	struct sim_context *context;
	struct plant_model model;
	pthread_t thread;
	bool running;
	_Atomic int stop;
} load;

int simulated_verb(const char *verb, const char *argument)
{
	_cleanup_(freep) char *command = NULL;

	if (asprintf(&command, "%s/bin/cofris-sim %s %s%s%s >/dev/null", COFRIS_BINARY_DIR, verb,
		     *argument ? "'" : "", argument, *argument ? "'" : "") < 0)
		return -ENOMEM;
	return system(command);
}

void simulated_fault(const char *spec)
{
	if (simulated_verb("fault", spec) != 0)
		fail_msg("the fault %s was refused", spec);
}

double simulated_truth(unsigned int card, const char *key)
{
	json_t *root, *value;
	double number;
	FILE *pipe;

	pipe = popen(COFRIS_BINARY_DIR "/bin/cofris-sim stat --json", "re");
	assert_non_null(pipe);
	root = json_loadf(pipe, 0, NULL);
	(void)pclose(pipe);
	value = json_object_get(json_array_get(json_object_get(root, "cards"), card), key);
	assert_true(json_is_number(value));
	number = json_number_value(value);
	json_decref(root);
	return number;
}

static uint64_t device_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return sim_device_ns(load.machine,
			     (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec);
}

static void *run_load(_unused_ void *arg)
{
	uint64_t t_ns = device_now_ns(), end_ns;

	while (sim_context_run(load.context, &load.model, 1, 1, t_ns, &load.stop, &end_ns) == 0)
		t_ns = end_ns;
	return NULL;
}

void simulated_load_begin(const char *bdf)
{
	/* Core-bound, 10 ms at the top clock. */
	load.model.n_kernels = 1;
	load.model.kernels[0] = (struct plant_kernel){
		.name = "gemm", .count = 200, .workgroups = 240, .flop = 3.5e8, .bytes = 1e5};
	assert_int_equal(sim_machine_map(NULL, &load.machine), 0);
	assert_int_equal(sim_context_new(load.machine, bdf, &load.context), 0);
	sim_context_set_queues(load.context, 2);
	atomic_store(&load.stop, 0);
	assert_int_equal(pthread_create(&load.thread, NULL, run_load, NULL), 0);
	load.running = true;
}

void simulated_load_end(void)
{
	if (!load.running)
		return;
	atomic_store(&load.stop, 1);
	(void)pthread_join(load.thread, NULL);
	load.context = sim_context_free(load.context);
	sim_machine_unmap(load.machine);
	load.running = false;
}
