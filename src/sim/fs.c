/* SPDX-License-Identifier: Apache-2.0 */
#define FUSE_USE_VERSION 35
#include "sim/fs.h"
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

/* Names and folders of the fixed part never change. Attributes of files are always asked for, as
 * the kernel takes a file it truncated to be empty. */
#define FIXED_TIMEOUT_S 3600

/* An open file. */
struct handle {
	uint64_t node;
	uint32_t binding; /* of the card's driver when it was opened */
	bool filled;
	size_t size;
	char text[TREE_FILE_SIZE];
};

struct withheld {
	struct withheld *next;
	fuse_req_t request;
	struct handle *handle;
	size_t size;
	off_t offset;
};

struct fs {
	struct tree *tree;
	struct faults *faults;
	struct write_log *log;
	struct card *const *cards;

	struct fuse_session *session;
	pthread_t thread;

	pthread_mutex_t lock; /* of the list */
	struct withheld *withheld;
	bool closing;
};

static struct fs *fs_free(struct fs *fs)
{
	if (!fs)
		return NULL;
	if (fs->session)
		fuse_session_destroy(fs->session);
	(void)pthread_mutex_destroy(&fs->lock);
	free(fs);
	return NULL;
}
DEFINE_CLEANUP(struct fs *, fs_free)

static struct fs *fs_of(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

static void fill_stat(const struct tree_info *info, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = info->inode,
		.st_mode = info->mode,
		.st_nlink = S_ISDIR(info->mode) ? 2 : 1,
		.st_blksize = TREE_FILE_SIZE,
		.st_size = S_ISREG(info->mode) ? TREE_FILE_SIZE : 0,
	};
	if (S_ISLNK(info->mode))
		ret->st_size = (off_t)strlen(info->target);
}

static double attr_timeout(const struct tree_info *info)
{
	return info->fixed && !S_ISREG(info->mode) ? FIXED_TIMEOUT_S : 0;
}

static void do_lookup(fuse_req_t request, fuse_ino_t folder, const char *name)
{
	struct fs *fs = fs_of(request);
	struct fuse_entry_param e = {0};
	struct tree_info info;
	int r;

	r = tree_lookup(fs->tree, folder, name, &e.ino);
	if (r == 0)
		r = tree_info(fs->tree, e.ino, &info);
	if (r < 0) {
		(void)fuse_reply_err(request, -r);
		return;
	}
	fill_stat(&info, &e.attr);
	e.attr_timeout = attr_timeout(&info);
	e.entry_timeout = info.fixed ? FIXED_TIMEOUT_S : 0;
	(void)fuse_reply_entry(request, &e);
}

static void do_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file _unused_)
{
	struct fs *fs = fs_of(request);
	struct tree_info info;
	struct stat st;
	int r;

	r = tree_info(fs->tree, node, &info);
	if (r < 0) {
		(void)fuse_reply_err(request, -r);
		return;
	}
	fill_stat(&info, &st);
	(void)fuse_reply_attr(request, &st, attr_timeout(&info));
}

/* Truncation, which every shell's ">" asks for, is taken and ignored. */
static void do_setattr(fuse_req_t request, fuse_ino_t node, struct stat *attr _unused_, int to_set,
		       struct fuse_file_info *file)
{
	if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		(void)fuse_reply_err(request, EPERM);
	else
		do_getattr(request, node, file);
}

static void do_readlink(fuse_req_t request, fuse_ino_t node)
{
	struct tree_info info;

	if (tree_info(fs_of(request)->tree, node, &info) < 0 || !S_ISLNK(info.mode))
		(void)fuse_reply_err(request, EINVAL);
	else
		(void)fuse_reply_readlink(request, info.target);
}

/* ---- folders ---- */

struct folder_list {
	int n;
	struct tree_entry *entries;
};

static void do_opendir(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
	struct folder_list *list = calloc(1, sizeof(*list));
	int r = -ENOMEM;

	if (list)
		r = tree_list(fs_of(request)->tree, node, &list->entries);
	if (r < 0) {
		free(list);
		(void)fuse_reply_err(request, -r);
		return;
	}
	list->n = r;
	file->fh = (uintptr_t)list;
	(void)fuse_reply_open(request, file);
}

static void do_readdir(fuse_req_t request, fuse_ino_t node _unused_, size_t size, off_t offset,
		       struct fuse_file_info *file)
{
	const struct folder_list *list = (void *)(uintptr_t)file->fh;
	_cleanup_(freep) char *buffer = malloc(size);
	size_t used = 0;

	if (!buffer) {
		(void)fuse_reply_err(request, ENOMEM);
		return;
	}
	for (off_t i = offset; i < list->n + 2; i++) {
		static const char *const dots[] = {".", ".."};
		const char *name = i < 2 ? dots[i] : list->entries[i - 2].name;
		struct tree_info info;
		struct stat st = {.st_mode = S_IFDIR};
		size_t length;

		if (i >= 2) {
			st.st_ino = list->entries[i - 2].node;
			if (tree_info(fs_of(request)->tree, st.st_ino, &info) < 0)
				continue;
			st.st_mode = info.mode;
		}
		length = fuse_add_direntry(request, buffer + used, size - used, name, &st, i + 1);
		if (length > size - used)
			break;
		used += length;
	}
	(void)fuse_reply_buf(request, buffer, used);
}

static void do_releasedir(fuse_req_t request, fuse_ino_t node _unused_, struct fuse_file_info *file)
{
	struct folder_list *list = (void *)(uintptr_t)file->fh;

	free(list->entries);
	free(list);
	(void)fuse_reply_err(request, 0);
}

/* ---- files ---- */

static bool is_absent(struct fs *fs, const struct tree_info *info)
{
	return info->card != TREE_NO_CARD &&
	       faults_has(fs->faults, FAULT_ABSENT, info->card, info->path);
}

static void do_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
	struct fs *fs = fs_of(request);
	struct handle *h = NULL;
	struct tree_info info;
	int r;

	r = tree_info(fs->tree, node, &info);
	if (r == 0 && is_absent(fs, &info))
		r = -ENODEV;
	/* Even root gets no file open for writing that cannot be written. */
	if (r == 0 && (file->flags & O_ACCMODE) != O_RDONLY && !tree_is_writable(fs->tree, node))
		r = -EACCES;
	if (r == 0) {
		h = calloc(1, sizeof(*h));
		r = h ? 0 : -ENOMEM;
	}
	if (r < 0) {
		(void)fuse_reply_err(request, -r);
		return;
	}
	h->node = node;
	if (info.card != TREE_NO_CARD)
		h->binding = card_binding(fs->cards[info.card]);
	file->fh = (uintptr_t)h;
	file->direct_io = 1;
	(void)fuse_reply_open(request, file);
}

/* Open files outlive neither their driver nor a reset unharmed. 0 or a negative errno. */
static int check_handle(struct fs *fs, const struct handle *h, const struct tree_info *info)
{
	if (info->card == TREE_NO_CARD)
		return 0;
	if (is_absent(fs, info) || h->binding != card_binding(fs->cards[info->card]))
		return -ENODEV;
	if (info->of_driver && faults_has(fs->faults, FAULT_RESETTING, info->card, ""))
		return -EPERM;
	return 0;
}

/* Makes the text anew. Returns 0 or a negative errno. */
static int fill(struct fs *fs, struct handle *h)
{
	struct tree_info info;
	ssize_t n;
	int r;

	r = tree_info(fs->tree, h->node, &info);
	if (r < 0)
		return -ENODEV;
	n = -1;
	if (info.card != TREE_NO_CARD) {
		r = check_handle(fs, h, &info);
		if (r < 0)
			return r;
		r = faults_errno(fs->faults, info.card, info.path);
		if (r > 0)
			return -r;
		n = faults_content(fs->faults, info.card, info.path, h->text, sizeof(h->text));
	}
	if (n < 0)
		n = tree_read(fs->tree, h->node, h->text);
	if (n < 0)
		return (int)n;
	h->size = (size_t)n;
	h->filled = true;
	return 0;
}

static void answer_read(struct fs *fs, fuse_req_t request, struct handle *h, size_t size,
			off_t offset)
{
	int r = 0;

	if (offset == 0 || !h->filled)
		r = fill(fs, h);
	if (r < 0)
		(void)fuse_reply_err(request, -r);
	else if ((size_t)offset >= h->size)
		(void)fuse_reply_buf(request, NULL, 0);
	else
		(void)fuse_reply_buf(request, h->text + offset,
				     MIN(size, h->size - (size_t)offset));
}

static bool hangs(struct fs *fs, const struct handle *h)
{
	struct tree_info info;

	return tree_info(fs->tree, h->node, &info) == 0 && info.card != TREE_NO_CARD &&
	       faults_has(fs->faults, FAULT_HANG, info.card, info.path);
}

/* Puts a read aside if its file hangs. */
static bool withhold(struct fs *fs, fuse_req_t request, struct handle *h, size_t size, off_t offset)
{
	struct withheld *w;
	bool kept = false;

	if (!hangs(fs, h))
		return false;
	w = malloc(sizeof(*w));
	if (!w)
		return false;
	*w = (struct withheld){.request = request, .handle = h, .size = size, .offset = offset};
	(void)pthread_mutex_lock(&fs->lock);
	/* Healed in between, nobody would come to release it. */
	if (!fs->closing && hangs(fs, h)) {
		w->next = fs->withheld;
		fs->withheld = w;
		kept = true;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	if (!kept)
		free(w);
	return kept;
}

static void do_read(fuse_req_t request, fuse_ino_t node _unused_, size_t size, off_t offset,
		    struct fuse_file_info *file)
{
	struct fs *fs = fs_of(request);
	struct handle *h = (void *)(uintptr_t)file->fh;

	if (!withhold(fs, request, h, size, offset))
		answer_read(fs, request, h, size, offset);
}

void fs_release(struct fs *fs)
{
	struct withheld **p = &fs->withheld;

	(void)pthread_mutex_lock(&fs->lock);
	while (*p) {
		struct withheld *w = *p;

		if (!fs->closing && hangs(fs, w->handle)) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		answer_read(fs, w->request, w->handle, w->size, w->offset);
		free(w);
	}
	(void)pthread_mutex_unlock(&fs->lock);
}

static int store(struct fs *fs, const struct handle *h, const struct tree_info *info,
		 const char *text)
{
	int r;

	r = check_handle(fs, h, info);
	if (r < 0)
		return r;
	r = faults_errno(fs->faults, info->card, info->path);
	if (r > 0)
		return -r;
	if (faults_has(fs->faults, FAULT_DROP_WRITES, info->card, info->path))
		return 0;
	return tree_write(fs->tree, h->node, text);
}

/* One call is one store whatever its offset, and what is beyond a page is left for the next. */
static void do_write(fuse_req_t request, fuse_ino_t node, const char *data, size_t size,
		     off_t offset _unused_, struct fuse_file_info *file)
{
	struct fs *fs = fs_of(request);
	const struct handle *h = (void *)(uintptr_t)file->fh;
	size_t taken = MIN(size, (size_t)TREE_FILE_SIZE);
	char text[TREE_FILE_SIZE + 1];
	struct tree_info info;
	int r;

	memcpy(text, data, taken);
	text[taken] = '\0';
	r = tree_info(fs->tree, node, &info) < 0 ? -ENODEV : 0;
	if (r == 0) {
		r = store(fs, h, &info, text);
		write_log_add(fs->log, info.card, card_bdf(fs->cards[info.card]), info.path,
			      fuse_req_ctx(request)->pid, r, text, taken);
	}
	if (r < 0)
		(void)fuse_reply_err(request, -r);
	else
		(void)fuse_reply_write(request, taken);
}

static void do_release(fuse_req_t request, fuse_ino_t node _unused_, struct fuse_file_info *file)
{
	free((void *)(uintptr_t)file->fh);
	(void)fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = do_lookup,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.readlink = do_readlink,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.releasedir = do_releasedir,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.release = do_release,
};

/* ---- the session ---- */

static void *answer(void *userdata)
{
	struct fs *fs = userdata;

	(void)fuse_session_loop(fs->session);
	return NULL;
}

int fs_new(const char *folder, struct tree *tree, struct faults *faults, struct write_log *log,
	   struct card *const *cards, struct fs **ret)
{
	static char name[] = "cofris-sim", option[] = "-o",
		    options[] = "allow_other,default_permissions,fsname=cofris-sim";
	char *argv[] = {name, option, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(ARRAY_SIZE(argv) - 1, argv);
	_cleanup_(fs_freep) struct fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs)
		return -ENOMEM;
	fs->tree = tree;
	fs->faults = faults;
	fs->log = log;
	fs->cards = cards;
	(void)pthread_mutex_init(&fs->lock, NULL);
	fs->session = fuse_session_new(&args, &operations, sizeof(operations), fs);
	fuse_opt_free_args(&args);
	if (!fs->session)
		return -ENOMEM;
	/* The library has printed what is wrong. */
	if (fuse_session_mount(fs->session, folder) < 0)
		return -EIO;
	r = -pthread_create(&fs->thread, NULL, answer, fs);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(fs);
	return 0;
}

static void forget(void *userdata, uint64_t folder, const char *name)
{
	struct fs *fs = userdata;

	/* -ENOENT: the kernel did not know it. */
	(void)fuse_lowlevel_notify_inval_entry(fs->session, folder, name, strlen(name));
}

void fs_forget_cards(struct fs *fs)
{
	tree_each_of_cards(fs->tree, forget, fs);
}

void fs_release_all(struct fs *fs)
{
	(void)pthread_mutex_lock(&fs->lock);
	fs->closing = true;
	(void)pthread_mutex_unlock(&fs->lock);
	fs_release(fs);
}
