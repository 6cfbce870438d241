/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/link.h"
#include "actuator/client.h"
#include "base/parse.h"
#include "base/units.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

/* Two requests for each card (a setting and its sensors) and the list. */
#define LINK_MAX_CALLS (2 * LINK_MAX_CARDS + 2)
#define LINK_LIST_NS   (2 * NSEC_PER_SEC)

struct call {
	bool used;
	uint16_t op;
	uint32_t sequence;
	uint64_t deadline_ns;
	char bdf[16];
	link_reply_fn reply;
	void *userdata;
};

struct link {
	sd_event *event;
	char *path;
	struct link_events events;
	struct actuator_client *client;
	sd_event_source *io, *timer;
	struct call calls[LINK_MAX_CALLS];
	bool gives_up; /* the last reply was one after which the actuator starts anew */
	/* The list being received. */
	uint32_t n_cards;
	struct actuator_card cards[LINK_MAX_CARDS];
	char bdfs[LINK_MAX_CARDS][16];
};

/* Not the loop's time, which stands still while one of its handlers derives tables. */
static uint64_t fresh_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void arm_timer(struct link *l)
{
	uint64_t earliest_ns = UINT64_MAX;

	for (size_t i = 0; i < LINK_MAX_CALLS; i++)
		if (l->calls[i].used)
			earliest_ns = MIN(earliest_ns, l->calls[i].deadline_ns);
	if (earliest_ns == UINT64_MAX) {
		(void)sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(l->timer, earliest_ns / NSEC_PER_USEC + 1);
	(void)sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
}

static void end_call(struct call *call, int error, const struct actuator_reply *reply)
{
	struct call ended = *call;

	/* Free before the callback, which may well send the next request. */
	call->used = false;
	if (ended.reply)
		ended.reply(ended.userdata, error, reply);
}

/* Requests are served in order: the one that an actuator died of is the oldest, unless it ended on
 * purpose. */
static const struct call *find_fatal_call(const struct link *l)
{
	const struct call *oldest = NULL;

	for (size_t i = 0; i < LINK_MAX_CALLS && !l->gives_up; i++)
		if (l->calls[i].used &&
		    (!oldest || (int32_t)(l->calls[i].sequence - oldest->sequence) < 0))
			oldest = &l->calls[i];
	return oldest;
}

static void hang_up(struct link *l, int error)
{
	const struct call *fatal = find_fatal_call(l);
	int fd;

	if (!l->client)
		return;
	fd = actuator_client_fd(l->client);
	l->io = sd_event_source_disable_unref(l->io);
	l->events.connection(l->events.userdata, fd, false);
	l->client = actuator_client_free(l->client);
	for (size_t i = 0; i < LINK_MAX_CALLS; i++)
		if (l->calls[i].used)
			end_call(&l->calls[i], &l->calls[i] == fatal ? -EOWNERDEAD : error, NULL);
	arm_timer(l);
	l->events.down(l->events.userdata, error);
}

/* A late or unknown reply finds no call and is dropped. */
static struct call *find_call(struct link *l, const struct actuator_reply *reply)
{
	for (size_t i = 0; i < LINK_MAX_CALLS; i++) {
		struct call *call = &l->calls[i];

		if (call->used && call->sequence == reply->sequence && call->op == reply->op &&
		    (reply->op == ACTUATOR_LIST ||
		     strncmp(call->bdf, reply->bdf, sizeof(call->bdf)) == 0))
			return call;
	}
	return NULL;
}

static void list_reply(void *userdata, int error, const struct actuator_reply *reply)
{
	struct link *l = userdata;

	if (error == 0)
		error = reply->error;
	if (error == 0)
		l->events.cards(l->events.userdata, l->cards, l->bdfs, l->n_cards);
	else if (l->client)
		hang_up(l, error);
}

/* Texts end, and counts stay within their arrays, whatever came. */
static void store_card(struct link *l, const struct actuator_reply *reply)
{
	struct actuator_card *card = &l->cards[l->n_cards];

	*card = reply->card;
	card->name[sizeof(card->name) - 1] = '\0';
	card->gfx[sizeof(card->gfx) - 1] = '\0';
	card->n_levels = MIN(card->n_levels, (uint32_t)ACTUATOR_MAX_LEVELS);
	card->n_se = MIN(card->n_se, (uint32_t)ACTUATOR_MAX_SE);
	(void)snprintf(l->bdfs[l->n_cards], sizeof(l->bdfs[0]), "%.12s", reply->bdf);
	l->n_cards++;
}

/* Collects the cards of a list, one message each; true with the last. */
static bool take_card(struct link *l, const struct actuator_reply *reply)
{
	const struct actuator_card *card = &reply->card;

	if (reply->error != 0 || card->count == 0)
		return true;
	if (card->index == 0)
		l->n_cards = 0;
	if (l->n_cards < LINK_MAX_CARDS && pci_bdf_is_valid(reply->bdf))
		store_card(l, reply);
	return card->index + 1 >= card->count;
}

static void receive_replies(struct link *l)
{
	while (l->client) {
		struct actuator_reply reply;
		struct call *call;
		int r;

		r = actuator_client_receive(l->client, &reply);
		if (r == -EAGAIN)
			break;
		if (r < 0) {
			hang_up(l, r);
			return;
		}
		l->gives_up = reply.error == -ETIMEDOUT || reply.error == -EPERM ||
			      reply.error == -ENODEV;
		call = find_call(l, &reply);
		if (call && (reply.op != ACTUATOR_LIST || take_card(l, &reply)))
			end_call(call, 0, &reply);
	}
}

static int on_readable(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
		       void *userdata)
{
	struct link *l = userdata;

	receive_replies(l);
	arm_timer(l);
	return 0;
}

static int on_deadline(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct link *l = userdata;
	uint64_t now_ns = fresh_ns();

	/* What has come while the loop was busy is not late. */
	receive_replies(l);
	for (size_t i = 0; i < LINK_MAX_CALLS; i++)
		if (l->calls[i].used && l->calls[i].deadline_ns <= now_ns)
			end_call(&l->calls[i], -ETIMEDOUT, NULL);
	arm_timer(l);
	return 0;
}

int link_new(sd_event *event, const char *path, int fd, const struct link_events *events,
	     struct link **ret)
{
	_cleanup_(link_freep) struct link *l = NULL;
	int r;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->event = sd_event_ref(event);
	l->events = *events;
	l->path = strdup(path);
	if (!l->path)
		return -ENOMEM;
	r = sd_event_add_time(event, &l->timer, CLOCK_MONOTONIC, 0, 1000, on_deadline, l);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
	if (fd >= 0) {
		/* Whoever kept it may have changed that. */
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		(void)actuator_client_from_fd(fd, &l->client);
	}
	*ret = TAKE_PTR(l);
	return 0;
}

struct link *link_free(struct link *l)
{
	if (!l)
		return NULL;
	sd_event_source_disable_unref(l->io);
	sd_event_source_disable_unref(l->timer);
	actuator_client_free(l->client);
	sd_event_unref(l->event);
	free(l->path);
	free(l);
	return NULL;
}

bool link_connected(const struct link *l)
{
	return l->client;
}

void link_forget(struct link *l, const void *userdata)
{
	for (size_t i = 0; i < LINK_MAX_CALLS; i++)
		if (l->calls[i].used && l->calls[i].userdata == userdata)
			l->calls[i].used = false;
}

static int watch(struct link *l)
{
	int r, fd = actuator_client_fd(l->client);

	r = sd_event_add_io(l->event, &l->io, fd, EPOLLIN, on_readable, l);
	if (r < 0)
		return r;
	l->gives_up = false;
	l->events.connection(l->events.userdata, fd, true);
	return 0;
}

void link_ask_cards(struct link *l)
{
	struct actuator_request request = {.op = ACTUATOR_LIST};
	int r = 0;

	if (!l->client)
		r = actuator_client_connect(l->path, &l->client);
	if (r >= 0 && !l->io)
		r = watch(l);
	if (r >= 0) {
		l->n_cards = 0;
		r = link_call(l, &request, LINK_LIST_NS, list_reply, l);
	}
	if (r >= 0 || r == -EAGAIN)
		return;
	if (l->client)
		hang_up(l, r);
	else
		l->events.down(l->events.userdata, r);
}

int link_call(struct link *l, struct actuator_request *request, uint64_t timeout_ns,
	      link_reply_fn reply, void *userdata)
{
	struct call *call = NULL;
	uint32_t sequence;
	int r;

	if (!l->client)
		return -ENOTCONN;
	for (size_t i = 0; i < LINK_MAX_CALLS && !call; i++)
		if (!l->calls[i].used)
			call = &l->calls[i];
	if (!call)
		return -EAGAIN;
	r = actuator_client_send(l->client, request, &sequence);
	if (r < 0)
		return r;
	*call = (struct call){
		.used = true,
		.op = request->op,
		.sequence = sequence,
		.deadline_ns = fresh_ns() + timeout_ns,
		.reply = reply,
		.userdata = userdata,
	};
	(void)memcpy(call->bdf, request->bdf, sizeof(call->bdf));
	arm_timer(l);
	return 0;
}
