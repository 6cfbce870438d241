/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/faults.h"
#include "base/parse.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define MAX_FAULTS 64
#define MAX_ERRNO  133

struct fault {
	enum fault_kind kind;
	uint32_t card;
	char spec[FAULT_SPEC_MAX];
	char file[128];
	int error;
	char content[FAULT_SPEC_MAX];
	size_t content_size;
};

struct faults {
	struct card *const *cards;
	uint32_t n_cards;
	pthread_mutex_t lock;
	_Atomic uint32_t n; /* readable without the lock: mostly there is none */
	struct fault fault[MAX_FAULTS];
};

/* The fields of a fault behind its kind and card. */
struct kind {
	const char *name;
	bool has_file, has_value;
	int (*parse)(struct fault *fault, const char *value);
	int (*begin)(struct card *card, const char *value);
	void (*end)(struct card *card);
	bool once; /* an event: nothing of it stays */
};

static int parse_errno_name(struct fault *fault, const char *value)
{
	for (int e = 1; e <= MAX_ERRNO; e++) {
		const char *name = strerrorname_np(e);

		if (name && strcmp(name, value) == 0) {
			fault->error = e;
			return 0;
		}
	}
	return -EINVAL;
}

/* Parses two hexadecimal digits behind "\x". */
static int parse_hex(const char *s, char *ret)
{
	char digits[3] = {s[0], s[0] ? s[1] : '\0'}, *end;
	long value = strtol(digits, &end, 16);

	if (end != digits + 2)
		return -EINVAL;
	*ret = (char)value;
	return 0;
}

static int parse_content(struct fault *fault, const char *value)
{
	static const char letters[] = "nt\\0", meanings[] = "\n\t\\\0";
	char *out = fault->content;

	/* Never longer than the text it is written as, which fits. */
	for (const char *p = value; *p; p++) {
		const char *letter;

		if (*p != '\\') {
			*out++ = *p;
			continue;
		}
		p++;
		if (*p == 'x') {
			if (parse_hex(p + 1, out++) < 0)
				return -EINVAL;
			p += 2;
			continue;
		}
		letter = *p ? strchr(letters, *p) : NULL;
		if (!letter)
			return -EINVAL;
		*out++ = meanings[letter - letters];
	}
	fault->content_size = (size_t)(out - fault->content);
	return 0;
}

static int begin_stuck(struct card *card, const char *value _unused_)
{
	card_set_stuck(card, true);
	return 0;
}

static void end_stuck(struct card *card)
{
	card_set_stuck(card, false);
}

static int begin_foreign_manual(struct card *card, const char *value)
{
	_cleanup_(freep) char *copy = strdup(value);
	char *high = copy ? strchr(copy, ':') : NULL;
	uint32_t levels[2];

	if (!high)
		return -EINVAL;
	*high++ = '\0';
	if (parse_u32(copy, &levels[0]) < 0 || parse_u32(high, &levels[1]) < 0)
		return -EINVAL;
	return card_set_foreign_manual(card, levels[0], levels[1]);
}

static int begin_vram_oom(struct card *card, const char *value)
{
	uint64_t bytes;

	if (parse_u64(value, &bytes) < 0)
		return -EINVAL;
	/* 0 is "no limit" there; not even a page fits into one byte. */
	atomic_store(&card_shared(card)->vram_limit_bytes, MAX(bytes, UINT64_C(1)));
	return 0;
}

static void end_vram_oom(struct card *card)
{
	atomic_store(&card_shared(card)->vram_limit_bytes, 0);
}

static int begin_gpu_fault(struct card *card, const char *value)
{
	uint64_t address;
	char *end;

	errno = 0;
	address = strtoull(value, &end, 16);
	if (strncmp(value, "0x", 2) != 0 || !value[2] || *end || errno)
		return -EINVAL;
	card_raise_gpu_fault(card, address);
	return 0;
}

static int begin_unbound(struct card *card, const char *value _unused_)
{
	card_set_unbound(card, true);
	return 0;
}

static void end_unbound(struct card *card)
{
	card_set_unbound(card, false);
}

static int begin_removed(struct card *card, const char *value _unused_)
{
	card_set_removed(card, true);
	return 0;
}

static void end_removed(struct card *card)
{
	card_set_removed(card, false);
}

static int begin_rebind(struct card *card, const char *value _unused_)
{
	card_rebind(card);
	return 0;
}

static int begin_reset(struct card *card, const char *value _unused_)
{
	card_reset(card);
	return 0;
}

/* "umc:1:0" */
static int begin_ras(struct card *card, const char *value)
{
	_cleanup_(freep) char *copy = strdup(value);
	char *rest = copy, *name, *ue;
	struct card_ras more;

	name = strsep(&rest, ":");
	ue = strsep(&rest, ":");
	if (!ue || !rest || parse_u64(ue, &more.uncorrectable) < 0 ||
	    parse_u64(rest, &more.correctable) < 0)
		return -EINVAL;
	for (int i = 0; i < N_RAS_BLOCKS; i++)
		if (strcmp(card_ras_names[i], name) == 0) {
			card_add_ras(card, (enum card_ras_block)i, &more);
			return 0;
		}
	return -EINVAL;
}

static const struct kind kinds[] = {
	[FAULT_HANG] = {"hang", .has_file = true},
	[FAULT_ERRNO] = {"errno", .has_file = true, .has_value = true, .parse = parse_errno_name},
	[FAULT_CONTENT] = {"content", .has_file = true, .has_value = true, .parse = parse_content},
	[FAULT_DROP_WRITES] = {"drop-writes", .has_file = true},
	[FAULT_STUCK_CLOCK] = {"stuck-clock", .begin = begin_stuck, .end = end_stuck},
	[FAULT_ABSENT] = {"absent"},
	[FAULT_UNBOUND] = {"unbound", .begin = begin_unbound, .end = end_unbound},
	[FAULT_REMOVED] = {"removed", .begin = begin_removed, .end = end_removed},
	[FAULT_REBIND] = {"rebind", .begin = begin_rebind, .once = true},
	[FAULT_RESETTING] = {"resetting", .end = card_reset},
	[FAULT_RESET] = {"reset", .begin = begin_reset, .once = true},
	[FAULT_RAS] = {"ras", .has_value = true, .begin = begin_ras, .once = true},
	[FAULT_FOREIGN_MANUAL] = {"foreign-manual", .has_value = true,
				  .begin = begin_foreign_manual, .once = true},
	[FAULT_VRAM_OOM] = {"vram-oom", .has_value = true, .begin = begin_vram_oom,
			    .end = end_vram_oom},
	[FAULT_GPU_FAULT] = {"gpu-fault", .has_value = true, .begin = begin_gpu_fault,
			     .once = true},
};

int faults_new(struct card *const *cards, uint32_t n_cards, struct faults **ret)
{
	struct faults *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->cards = cards;
	f->n_cards = n_cards;
	(void)pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

struct faults *faults_free(struct faults *f)
{
	if (f)
		(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}

static int fail(struct fault_error *error, int r, const char *format, ...) _printf_(3, 4);

static int fail(struct fault_error *error, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
	return r;
}

/* Splits off what comes before the next ':'; the last field gets all the rest. */
static const char *take_field(char **rest)
{
	return *rest ? strsep(rest, ":") : NULL;
}

/* Parses an index or an address, which has colons of its own. */
static int take_card(const struct faults *f, char **rest, uint32_t *ret)
{
	char bdf[PCI_BDF_LENGTH + 1];
	const char *field;

	for (uint32_t i = 0; i < f->n_cards; i++) {
		size_t n = PCI_BDF_LENGTH;

		(void)snprintf(bdf, sizeof(bdf), "%s", card_bdf(f->cards[i]));
		if (!*rest || strncmp(*rest, bdf, n) != 0 || ((*rest)[n] && (*rest)[n] != ':'))
			continue;
		*rest = (*rest)[n] ? *rest + n + 1 : NULL;
		*ret = i;
		return 0;
	}
	field = take_field(rest);
	if (!field || parse_u32(field, ret) < 0 || *ret >= f->n_cards)
		return -EINVAL;
	return 0;
}

static int parse_kind(const char *name, enum fault_kind *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0) {
			*ret = (enum fault_kind)i;
			return 0;
		}
	return -EINVAL;
}

/* Splits a fault into its fields; *ret_value is what is behind the card and file. */
static int parse_fault(const struct faults *f, const char *spec, char copy[FAULT_SPEC_MAX],
		       struct fault *ret, const char **ret_value, struct fault_error *error)
{
	char *rest = copy;
	const char *field;

	*ret = (struct fault){0};
	if (strlen(spec) >= FAULT_SPEC_MAX)
		return fail(error, -E2BIG, "longer than %d bytes", FAULT_SPEC_MAX - 1);
	(void)snprintf(ret->spec, sizeof(ret->spec), "%s", spec);
	memcpy(copy, ret->spec, sizeof(ret->spec));
	field = take_field(&rest);
	if (!field || parse_kind(field, &ret->kind) < 0)
		return fail(error, -EINVAL, "'%s' is not a kind of fault", field ? field : "");
	if (take_card(f, &rest, &ret->card) < 0)
		return fail(error, -EINVAL, "expected %s:CARD with one of the %u cards",
			    kinds[ret->kind].name, f->n_cards);
	if (kinds[ret->kind].has_file) {
		field = take_field(&rest);
		if (!field || !*field || strlen(field) >= sizeof(ret->file))
			return fail(error, -EINVAL, "expected a file behind the card");
		(void)snprintf(ret->file, sizeof(ret->file), "%s", field);
	}
	if (kinds[ret->kind].has_value && !rest)
		return fail(error, -EINVAL, "a value is missing");
	if (!kinds[ret->kind].has_value && rest)
		return fail(error, -EINVAL, "unexpected '%.60s'", rest);
	*ret_value = rest;
	return 0;
}

int faults_add(struct faults *f, const char *spec, fault_file_exists_fn exists, void *userdata,
	       struct fault_error *ret_error)
{
	_cleanup_(freep) struct fault *fault = malloc(sizeof(*fault));
	char copy[FAULT_SPEC_MAX];
	const struct kind *kind;
	const char *value = NULL;
	int r;

	if (!fault)
		return -ENOMEM;
	r = parse_fault(f, spec, copy, fault, &value, ret_error);
	if (r < 0)
		return r;
	kind = &kinds[fault->kind];
	if (kind->has_file && !exists(userdata, fault->card, fault->file))
		return fail(ret_error, -ENOENT, "no file '%s' on the card", fault->file);
	r = kind->parse ? kind->parse(fault, value) : 0;
	if (r == 0 && kind->begin)
		r = kind->begin(f->cards[fault->card], value);
	if (r < 0)
		return fail(ret_error, r, "'%.60s' is not a value for %s", value, kind->name);
	if (kind->once)
		return 0;
	(void)pthread_mutex_lock(&f->lock);
	if (f->n == MAX_FAULTS)
		r = fail(ret_error, -ENOSPC, "more than %d faults", MAX_FAULTS);
	else
		f->fault[f->n++] = *fault;
	(void)pthread_mutex_unlock(&f->lock);
	return r;
}

static bool is_named_by(const struct fault *fault, const char *spec)
{
	size_t n = spec ? strlen(spec) : 0;

	return !spec || (strncmp(fault->spec, spec, n) == 0 &&
			 (fault->spec[n] == '\0' || fault->spec[n] == ':'));
}

int faults_heal(struct faults *f, const char *spec)
{
	uint32_t kept = 0;
	int healed;

	(void)pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct fault *fault = &f->fault[i];

		if (!is_named_by(fault, spec))
			f->fault[kept++] = *fault;
		else if (kinds[fault->kind].end)
			kinds[fault->kind].end(f->cards[fault->card]);
	}
	healed = (int)(f->n - kept);
	f->n = kept;
	(void)pthread_mutex_unlock(&f->lock);
	return healed;
}

/* Whether path ends in file, at a component. */
static bool path_ends_in(const char *path, const char *file)
{
	size_t n_path = strlen(path), n_file = strlen(file);

	return n_path >= n_file && strcmp(path + n_path - n_file, file) == 0 &&
	       (n_path == n_file || path[n_path - n_file - 1] == '/');
}

/* Finds the newest fault of a kind on a file. The lock is held. */
static const struct fault *find(const struct faults *f, enum fault_kind kind, uint32_t card,
				const char *path)
{
	for (uint32_t i = f->n; i-- > 0;) {
		const struct fault *fault = &f->fault[i];

		if (fault->kind == kind && fault->card == card &&
		    (!kinds[kind].has_file || path_ends_in(path, fault->file)))
			return fault;
	}
	return NULL;
}

bool faults_has(struct faults *f, enum fault_kind kind, uint32_t card, const char *path)
{
	bool has;

	if (f->n == 0)
		return false;
	(void)pthread_mutex_lock(&f->lock);
	has = find(f, kind, card, path) != NULL;
	(void)pthread_mutex_unlock(&f->lock);
	return has;
}

int faults_errno(struct faults *f, uint32_t card, const char *path)
{
	const struct fault *fault;
	int error;

	if (f->n == 0)
		return 0;
	(void)pthread_mutex_lock(&f->lock);
	fault = find(f, FAULT_ERRNO, card, path);
	error = fault ? fault->error : 0;
	(void)pthread_mutex_unlock(&f->lock);
	return error;
}

ssize_t faults_content(struct faults *f, uint32_t card, const char *path, char *buffer, size_t size)
{
	const struct fault *fault;
	ssize_t n = -1;

	if (f->n == 0)
		return -1;
	(void)pthread_mutex_lock(&f->lock);
	fault = find(f, FAULT_CONTENT, card, path);
	if (fault) {
		n = (ssize_t)MIN(fault->content_size, size);
		memcpy(buffer, fault->content, (size_t)n);
	}
	(void)pthread_mutex_unlock(&f->lock);
	return n;
}
