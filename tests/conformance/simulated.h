/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated machine around a test program: faults, the truth behind the files, and a load. */
#pragma once

#include "sim/sim-card.h"

/* Runs "cofris-sim VERB ARGUMENT"; its exit status. */
int simulated_verb(const char *verb, const char *argument);
/* The same for a fault that must be accepted. */
void simulated_fault(const char *spec);
/* A number of the true state of a card, by its index. */
double simulated_truth(unsigned int card, const char *key);

/* A load of this process on the card, with two queues, until simulated_load_end(). One at a time.
 */
void simulated_load_begin(const char *bdf);
void simulated_load_end(void);
