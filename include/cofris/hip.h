/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of pre-masked HIP streams, for workers that own their streams. A HIP stream's CU mask
 * cannot be changed, and making a stream takes milliseconds; so the pool makes the streams for a
 * directive on the channel's background thread and keeps the last few masks. A request takes the
 * stream for the directive in force with cofris_hip_stream(): no lock, no allocation, no system
 * call, no call of HIP.
 *
 *	struct cofris_hip_options pool_options = {.size = sizeof(pool_options), .slots = 2};
 *	cofris_hip_open(&pool_options, &pool);
 *	struct cofris_options options = {.size = sizeof(options), .model = "resnet50", .slots = 2,
 *		.follows = COFRIS_FOLLOWS_CU_MASK, .apply = cofris_hip_apply, .userdata = pool};
 *	cofris_open(&options, &channel);
 *	...
 *	stream = cofris_hip_stream(pool, slot);		for each request or batch
 *	hipModuleLaunchKernel(..., stream, ...); hipStreamSynchronize(stream);
 *	cofris_hip_done(pool, slot);			when nothing more will be submitted to it
 *	...
 *	cofris_close(channel); cofris_hip_close(pool);	in this order
 *
 * libcofris is not linked to HIP. Functions come from the libamdhip64 that the process has loaded,
 * or from the caller. Streams are void * here and hipStream_t there, the same pointer. They are
 * ordinary (blocking) streams: those with a mask cannot be made otherwise, and the one without is
 * like them, so that a change of mask changes nothing else.
 *
 * Needs libcofris 0.1. A worker that uses a pool does not need libcofris-hsa.so.
 */
#ifndef COFRIS_HIP_H
#define COFRIS_HIP_H

#include <cofris/cofris.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Streams with a mask per pool, over all slots. An MI50 slows down once more than eight queues
 * (these and an unmasked one) are in use. */
#define COFRIS_HIP_MAX_STREAMS 7

struct cofris_hip;

/* The calls of HIP that a pool makes, with HIP's own meaning; hipError_t is int here. */
struct cofris_hip_functions {
	int (*get_device)(int *ret_device);
	int (*set_device)(int device);
	/* hipStreamCreateWithFlags(), always with flags 0 */
	int (*stream_create)(void **ret_stream, unsigned int flags);
	/* hipExtStreamCreateWithCUMask() */
	int (*stream_create_masked)(void **ret_stream, uint32_t words, const uint32_t *mask);
	/* hipStreamQuery(): 0 if all work on it has ended */
	int (*stream_query)(void *stream);
	int (*stream_destroy)(void *stream);
};

struct cofris_hip_options {
	size_t size; /* sizeof(struct cofris_hip_options), for later growth */
	int device;  /* HIP's number of the card; a worker on several cards has a pool for each */
	uint32_t slots; /* threads (or batches) that use streams at the same time; 0 means 1 */
	const struct cofris_hip_functions *functions; /* NULL: those of the loaded libamdhip64 */
};

/*
 * Makes a pool, with an unmasked stream for each slot. Each slot has streams of its own: with n
 * slots the pool keeps 7/n masks; beyond seven slots, those with the same number modulo 7 share
 * streams. Looks for an already loaded libamdhip64 and loads nothing. The calling thread's device
 * is as before afterwards. Returns 0, or -EINVAL (size, slots over 1024), -ENOMEM, -ENOENT (no
 * libamdhip64 with these functions is loaded), -EIO (HIP refused). The caller closes the result.
 */
COFRIS_API int cofris_hip_open(const struct cofris_hip_options *options, struct cofris_hip **ret);

/* Destroys the streams, waiting for work on them; no slot may be using one, and the channel that
 * applies must be closed. NULL is allowed. Always returns NULL. */
COFRIS_API struct cofris_hip *cofris_hip_close(struct cofris_hip *pool);

/*
 * A cofris_apply_fn, with the pool as userdata; a worker with several pools or with more to do
 * calls it from its own callback. Makes what the directive's mask needs, then puts it in force, so
 * that the acknowledgement is true of every stream taken from then on. Full range and epoch 0 are
 * the unmasked streams; that cannot fail. The least recently used mask makes room, and a stream is
 * destroyed only when no slot holds it and all work on it has ended. Where there are masks for one
 * alone (four slots and more), the slots get their unmasked streams until the old ones are free,
 * for at most half a second. Returns the number of slots whose stream has changed, or -EINVAL (no
 * CU, or more than 512), -EBUSY (a stream stays in use), -EIO (HIP refused); on an error the slots
 * run unmasked or as before, and the directive is not acknowledged. Leaves the calling thread,
 * which is the channel's, at the pool's device.
 */
COFRIS_API int cofris_hip_apply(void *pool, const struct cofris_directive *directive);

/*
 * The stream of a slot (0 to slots - 1) for the directive in force. It stays valid until the slot's
 * next cofris_hip_stream() or cofris_hip_done(), whatever directives come, and longer while work on
 * it is unfinished; it must not be destroyed. A slot belongs to one thread at a time. Costs a few
 * loads and one atomic store.
 */
COFRIS_API void *cofris_hip_stream(struct cofris_hip *pool, uint32_t slot);

/* The slot will submit nothing more to the stream that it holds; what was submitted may still run.
 * Optional before the next cofris_hip_stream(), but a slot that idles should not hold one. */
COFRIS_API void cofris_hip_done(struct cofris_hip *pool, uint32_t slot);

#ifdef __cplusplus
}
#endif
#endif
