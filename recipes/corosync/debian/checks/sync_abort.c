/* A round of synchronisation that is given up, at each of its stages: exec/sync.c alone, with a service that counts. */
#include "../../exec/sync.c"

#include <assert.h>

static int aborted, destroyed;

int totempg_groups_initialize(void **instance, void (*deliver)(unsigned int, const void *, unsigned int, int),
                              void (*confchg)(enum totem_configuration_type, const unsigned int *, size_t,
                                              const unsigned int *, size_t, const unsigned int *, size_t,
                                              const struct memb_ring_id *))
{
	return 0;
}

int totempg_groups_join(void *instance, const struct totempg_group *groups, size_t entries)
{
	return 0;
}

int totempg_groups_mcast_joined(void *instance, const struct iovec *iov, unsigned int len, int guarantee)
{
	return 0;
}

int schedwrk_create(hdb_handle_t *handle, int (fn)(const void *), const void *context)
{
	return 0;
}

void schedwrk_destroy(hdb_handle_t handle)
{
	destroyed++;
}

int _logsys_subsys_create(const char *subsys, const char *filename)
{
	return 0;
}

int _logsys_config_subsys_get(const char *subsys)
{
	return 0;
}

static void count_abort(void)
{
	aborted++;
}

static int retrieve(int service_id, struct sync_callbacks *callbacks)
{
	return 0;
}

static void give_up(enum sync_state state, int index, int expected_aborts, int expected_destroys)
{
	aborted = destroyed = 0;
	my_state = state;
	my_processing_idx = index;
	sync_abort();
	assert(aborted == expected_aborts);
	assert(destroyed == expected_destroys);
}

int main(void)
{
	my_sync_callbacks_retrieve = retrieve;
	give_up(SYNC_BARRIER, 0, 0, 0); /* before the first round: no service yet */

	my_service_list_entries = 2;
	my_service_list[0].sync_abort = my_service_list[1].sync_abort = count_abort;
	give_up(SYNC_SERVICELIST_BUILD, 0, 0, 0);
	give_up(SYNC_PROCESS, 0, 1, 1);
	give_up(SYNC_BARRIER, 0, 1, 0); /* a member died meanwhile: what it had sent is void */
	give_up(SYNC_BARRIER, 1, 1, 0);
	give_up(SYNC_BARRIER, 2, 0, 0); /* after a completed round */
	return 0;
}
