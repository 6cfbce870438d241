/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for the tests of HIP on simulated cards. Their instructions are not executed there; what
 * one costs a workgroup is told by the note: 1 000 000 FLOP and no memory, or what its arguments
 * say. */
#include <hip/hip_runtime.h>

#define TEXT "spin flop=1000000 bytes=0\nwork flop=@0 bytes=@8\n\n\n\n"
#define NOTE "\7\0\0\0\63\0\0\0\1\0\0\0cofris\0\0" TEXT

/* The size of the text, in octal above; with its NUL whole words, or comgr does not find the notes
 * behind it. */
static_assert(sizeof(TEXT) - 1 == 063, "the note's size");

extern "C" __device__ const char cofris_note[]
	__attribute__((section(".note.cofris"), used, aligned(4))) = NOTE;

extern "C" __global__ void spin(float *out, unsigned int n)
{
	float x = (float)(blockIdx.x * blockDim.x + threadIdx.x);

	for (unsigned int i = 0; i < n; i++)
		x = x * 1.0001f + 1.0f;
	if (x == 0)
		*out = x;
}

/* Of 256 threads. */
extern "C" __global__ void work(unsigned long long flop, unsigned long long bytes, float *out)
{
	float x = (float)bytes;

	for (unsigned long long i = 0; i < flop / 512; i++)
		x = x * 1.0001f + 1.0f;
	if (x == 0)
		*out = x;
}
