/* SPDX-License-Identifier: Apache-2.0 */
#include "io/feature.h"

#include <criterion/criterion.h>

#include "io/uffd.h"

Test(feature, every_name_leads_to_its_bit_and_no_two_to_the_same)
{
	uint32_t seen = 0;
	uint32_t count = 0;
	const char *name;
	uint32_t bit;

	while ((name = feature_name(count, &bit)) != NULL) {
		cr_expect_eq(feature_by_name(name), bit, "%s", name);
		cr_expect_eq(seen & bit, 0, "%s", name);
		seen |= bit;
		count++;
	}

	cr_expect_geq(count, 8);
	cr_expect_eq(feature_by_name("no-such-feature"), 0);
}

Test(feature, what_is_disabled_is_not_offered)
{
	cr_assert_not(feature_is_disabled(UFFD_CAN_POISON));

	feature_disable(UFFD_CAN_POISON);

	cr_expect(feature_is_disabled(UFFD_CAN_POISON));
	cr_expect_eq(feature_allowed(UFFD_WP | UFFD_CAN_POISON), UFFD_WP);
}

Test(feature, without_write_protection_there_are_no_marks)
{
	feature_disable(UFFD_WP);

	cr_expect_eq(feature_allowed(UFFD_WP | UFFD_WP_ASYNC_MARK | UFFD_EVENTS), UFFD_EVENTS);
}
