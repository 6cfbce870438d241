/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsers: the whole string must be the value (no sign, no surrounding blanks, no trailing
 * text). All return 0, -EINVAL for text that is not such a value, -ERANGE for one that does not
 * fit; outputs are written only on success. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

int parse_u64(const char *s, uint64_t *ret);
int parse_u32(const char *s, uint32_t *ret);
/* A finite decimal number; NaN, infinities and hexadecimal are refused. */
int parse_double(const char *s, double *ret);
/* yes/no, true/false, on/off, 1/0. */
int parse_bool(const char *s, bool *ret);
/* A number with a unit, which is required: ns us ms s min h. */
int parse_duration_ns(const char *s, uint64_t *ret);
/* A number with a unit, which is required: uW mW W. */
int parse_power_uw(const char *s, uint64_t *ret);
/* A number with a unit, which is required: MHz or GHz. */
int parse_clock_mhz(const char *s, uint32_t *ret);

#define PCI_BDF_LENGTH 12 /* "0000:43:00.0" */
/* Checks "dddd:bb:dd.f" in lower-case hexadecimal. */
bool pci_bdf_is_valid(const char *s);
/* A model's name: 1 to 40 bytes of [A-Za-z0-9._/-], not starting with '/' or '.', no ".." part.
 * (Names become file names below the surfaces' folder.) */
#define MODEL_NAME_MAX 40
bool model_name_is_valid(const char *s);
/* s if it is such an address or name, else "?": for answers that repeat what a stranger has sent.
 * Half a character is no text that the bus carries, and others are meant for a terminal. */
const char *quotable(const char *s);

/* Makes '?' of what is no printable ASCII, for messages that quote a file: the bus carries no bytes
 * that are no UTF-8, as a character is that was cut in the middle. */
void make_printable(char *s);

/* The candidate closest to word by edit distance, or NULL if none is near (distance at most a
 * third of the word's length, at least 1). For "unknown key 'pol_interval', did you mean ...". */
const char *nearest_name(const char *word, const char *const *candidates, unsigned int n);
