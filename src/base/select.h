/* SPDX-License-Identifier: Apache-2.0 */
/* Order statistics without sorting (quickselect). */
#pragma once

#include <stdint.h>

/* Defines type name(v, n, k): returns the k-th smallest of v[0 .. n-1], which is in its place then,
 * none larger before it. n is at least 1. */
#define DEFINE_SELECT_KTH(type, name)                                                              \
	static type name(type *v, int64_t n, int64_t k)                                            \
	{                                                                                          \
		int64_t low = 0, high = n - 1;                                                     \
                                                                                                   \
		while (low < high) {                                                               \
			type pivot = v[low + (high - low) / 2];                                    \
			int64_t i = low, j = high;                                                 \
                                                                                                   \
			while (i <= j) {                                                           \
				while (v[i] < pivot)                                               \
					i++;                                                       \
				while (v[j] > pivot)                                               \
					j--;                                                       \
				if (i <= j) {                                                      \
					type t = v[i];                                             \
                                                                                                   \
					v[i++] = v[j];                                             \
					v[j--] = t;                                                \
				}                                                                  \
			}                                                                          \
			if (k <= j)                                                                \
				high = j;                                                          \
			else if (k >= i)                                                           \
				low = i;                                                           \
			else                                                                       \
				break;                                                             \
		}                                                                                  \
		return v[k];                                                                       \
	}
