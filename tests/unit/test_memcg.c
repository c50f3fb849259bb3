/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/memcg.h"

#include <criterion/criterion.h>
#include <unistd.h>

static char folder[64];

static bool is_of(enum memcg_version version, const char *line)
{
	return memcg_folder(version, line, folder, sizeof(folder));
}

Test(memcg, version_2_has_one_line)
{
	cr_assert(is_of(MEMCG_V2, "0::/machine.slice/vm-1.scope\n"));
	cr_expect_str_eq(folder, "/sys/fs/cgroup/machine.slice/vm-1.scope");
	cr_expect_not(is_of(MEMCG_V1, "0::/machine.slice/vm-1.scope\n"));
}

Test(memcg, version_1_has_a_line_that_lists_memory)
{
	cr_assert(is_of(MEMCG_V1, "4:memory:/vms/one\n"));
	cr_expect_str_eq(folder, "/sys/fs/cgroup/memory/vms/one");
	cr_expect(is_of(MEMCG_V1, "4:cpu,memory,pids:/\n"));
	cr_expect_not(is_of(MEMCG_V1, "4:cpu,memoryless:/\n"));
	cr_expect_not(is_of(MEMCG_V1, "4:name=memory:/\n"));
	cr_expect_not(is_of(MEMCG_V2, "4:memory:/vms/one\n"));
}

Test(memcg, a_path_may_have_colons_and_must_fit)
{
	char small[8];

	cr_assert(is_of(MEMCG_V2, "0::/a:b"));
	cr_expect_str_eq(folder, "/sys/fs/cgroup/a:b");
	cr_expect_not(memcg_folder(MEMCG_V2, "0::/a", small, sizeof(small)));
	cr_expect_not(is_of(MEMCG_V2, "0::"));
	cr_expect_not(is_of(MEMCG_V2, "nonsense"));
	cr_expect_not(is_of(MEMCG_V1, ""));
}

Test(memcg, who_is_gone_has_no_limit)
{
	cr_expect_eq(memcg_room(0x7fffffff), UINT64_MAX);
}
