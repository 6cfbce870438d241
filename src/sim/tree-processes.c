/* SPDX-License-Identifier: Apache-2.0 */
/* KFD's list of processes. They come and go, so that a node of theirs is encoded in its number. */
#include "sim/tree-internal.h"
#include <errno.h>

enum process_kind {
	PROCESS,
	PROCESS_PASID,
	PROCESS_VRAM,
	PROCESS_SDMA,
	PROCESS_STATS,
	PROCESS_OCCUPANCY,
	PROCESS_QUEUES,
	PROCESS_QUEUE,
	QUEUE_GPUID,
	QUEUE_SIZE,
	QUEUE_TYPE,
};

#define PROCESS_BIT   (UINT64_C(1) << 62)
#define MAX_QUEUES    256 /* shown of one process on one card */
#define MAX_PROCESSES (SIM_SLOTS * SIM_MAX_CARDS)

struct process_node {
	int32_t pid;
	enum process_kind kind;
	uint32_t card, queue;
};

static uint64_t process_encode(struct process_node p)
{
	return PROCESS_BIT | (uint64_t)p.kind << 56 | (uint64_t)(uint32_t)p.pid << 24 |
	       (uint64_t)p.card << 20 | p.queue;
}

bool process_is_node(uint64_t node)
{
	return node & PROCESS_BIT;
}

static struct process_node process_decode(uint64_t node)
{
	return (struct process_node){
		.pid = (int32_t)(node >> 24 & UINT32_MAX),
		.kind = (enum process_kind)(node >> 56 & 0xf),
		.card = node >> 20 & 0xf,
		.queue = node & 0xfffff,
	};
}

/* Queues of a process on a card, from slots that any process may have written. */
static uint32_t queues_of(const struct tree *t, int32_t pid, uint32_t card)
{
	struct sim_card *shared = card_shared(t->cards[card]);
	uint32_t n = 0;

	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		if (atomic_load(&shared->slots[i].pid) == pid)
			n += MIN(atomic_load(&shared->slots[i].n_queues), MAX_QUEUES + 0u);
	return MIN(n, MAX_QUEUES + 0u);
}

static uint64_t vram_of(const struct tree *t, int32_t pid, uint32_t card)
{
	struct sim_card *shared = card_shared(t->cards[card]);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		if (atomic_load(&shared->slots[i].pid) == pid)
			bytes += atomic_load(&shared->slots[i].vram_bytes);
	return MIN(bytes, card_device(t->cards[card])->vram_bytes);
}

static bool process_exists(const struct tree *t, int32_t pid)
{
	if (pid <= 0)
		return false;
	for (uint32_t i = 0; i < t->n_cards; i++) {
		/* Frees what the dead have left. */
		(void)tree_card_view(t->cards[i]);
		if (queues_of(t, pid, i) > 0 || vram_of(t, pid, i) > 0)
			return true;
	}
	return false;
}

static bool process_node_exists(const struct tree *t, struct process_node p)
{
	if (p.card >= t->n_cards || !process_exists(t, p.pid))
		return false;
	return p.kind < PROCESS_QUEUE || p.queue < queues_of(t, p.pid, p.card);
}

static uint32_t occupied_cus(const struct tree *t, int32_t pid, uint32_t card)
{
	struct sim_card *shared = card_shared(t->cards[card]);
	uint64_t now_ns = tree_card_view(t->cards[card]).device_ns;
	uint32_t cus = 0;

	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		struct sim_slot *s = &shared->slots[i];
		uint32_t shape = atomic_load(&s->shape);
		uint32_t n = shape == 0 ? shared->n_cus : (shape >> 16) * (shape & 0xffff);

		if (atomic_load(&s->pid) == pid && atomic_load(&s->running_until_ns) > now_ns)
			cus = MAX(cus, n);
	}
	return MIN(cus, shared->n_cus);
}

static bool is_listed(const struct tree_listing *l, uint64_t node)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->entries[i].node == node)
			return true;
	return false;
}

int process_list_all(const struct tree *t, struct tree_listing *l)
{
	int r = 0;

	for (uint32_t i = 0; i < t->n_cards; i++) {
		struct sim_card *shared = card_shared(t->cards[i]);

		(void)tree_card_view(t->cards[i]);
		for (uint32_t k = 0; k < SIM_SLOTS && r == 0 && l->n < MAX_PROCESSES; k++) {
			int32_t pid = atomic_load(&shared->slots[k].pid);
			struct process_node p = {.pid = pid, .kind = PROCESS};

			if (pid > 0 &&
			    (atomic_load(&shared->slots[k].n_queues) > 0 ||
			     atomic_load(&shared->slots[k].vram_bytes) > 0) &&
			    !is_listed(l, process_encode(p)))
				r = tree_list_add(l, process_encode(p), "%d", pid);
		}
	}
	return r;
}

static uint64_t sibling(struct process_node p, enum process_kind kind)
{
	p.kind = kind;
	return process_encode(p);
}

static int list_process(const struct tree *t, struct process_node p, struct tree_listing *l)
{
	int r;

	r = tree_list_add(l, sibling(p, PROCESS_PASID), "pasid");
	for (p.card = 0; p.card < t->n_cards && r == 0; p.card++) {
		unsigned long long id = tree_gpu_id(p.card);

		r = tree_list_add(l, sibling(p, PROCESS_VRAM), "vram_%llu", id);
		if (r == 0)
			r = tree_list_add(l, sibling(p, PROCESS_SDMA), "sdma_%llu", id);
		if (r == 0)
			r = tree_list_add(l, sibling(p, PROCESS_STATS), "stats_%llu", id);
	}
	p.card = 0;
	return r < 0 ? r : tree_list_add(l, sibling(p, PROCESS_QUEUES), "queues");
}

static int list_queues(const struct tree *t, struct process_node p, struct tree_listing *l)
{
	uint32_t number = 0;
	int r = 0;

	for (p.card = 0; p.card < t->n_cards; p.card++) {
		uint32_t n = queues_of(t, p.pid, p.card);

		for (p.queue = 0; p.queue < n && r == 0; p.queue++)
			r = tree_list_add(l, sibling(p, PROCESS_QUEUE), "%u", number++);
	}
	return r;
}

static int list_queue(struct process_node p, struct tree_listing *l)
{
	int r;

	r = tree_list_add(l, sibling(p, QUEUE_GPUID), "gpuid");
	if (r == 0)
		r = tree_list_add(l, sibling(p, QUEUE_SIZE), "size");
	return r < 0 ? r : tree_list_add(l, sibling(p, QUEUE_TYPE), "type");
}

int process_list(const struct tree *t, uint64_t folder, struct tree_listing *l)
{
	struct process_node p = process_decode(folder);

	if (!process_node_exists(t, p))
		return -ENOENT;
	switch (p.kind) {
	case PROCESS:
		return list_process(t, p, l);
	case PROCESS_STATS:
		return tree_list_add(l, sibling(p, PROCESS_OCCUPANCY), "cu_occupancy");
	case PROCESS_QUEUES:
		return list_queues(t, p, l);
	case PROCESS_QUEUE:
		return list_queue(p, l);
	default:
		return -ENOTDIR;
	}
}

static bool process_node_is_folder(struct process_node p)
{
	return p.kind == PROCESS || p.kind == PROCESS_STATS || p.kind == PROCESS_QUEUES ||
	       p.kind == PROCESS_QUEUE;
}

int process_info(const struct tree *t, uint64_t node, struct tree_info *ret)
{
	struct process_node p = process_decode(node);

	if (!process_node_exists(t, p))
		return -ENOENT;
	*ret = (struct tree_info){
		.mode = process_node_is_folder(p) ? DIR_ : RO,
		.inode = node,
		.card = TREE_NO_CARD,
		.path = "",
	};
	return 0;
}

ssize_t process_read(const struct tree *t, uint64_t node, struct text *out)
{
	struct process_node p = process_decode(node);

	if (!process_node_exists(t, p))
		return -ENODEV;
	switch (p.kind) {
	case PROCESS_PASID:
		tree_print(out, "%d\n", 0x8000 + p.pid % 0x7fff);
		break;
	case PROCESS_OCCUPANCY:
		tree_print(out, "%u\n", occupied_cus(t, p.pid, p.card));
		break;
	case PROCESS_VRAM:
		tree_print(out, "%llu\n", (unsigned long long)vram_of(t, p.pid, p.card));
		break;
	case PROCESS_SDMA:
		tree_print(out, "0\n"); /* nobody says how long a process copied */
		break;
	case QUEUE_GPUID:
		tree_print(out, "%llu", (unsigned long long)tree_gpu_id(p.card));
		break;
	case QUEUE_SIZE:
		tree_print(out, "4096");
		break;
	case QUEUE_TYPE:
		tree_print(out, "0");
		break;
	default:
		return -EISDIR;
	}
	return (ssize_t)out->size;
}
