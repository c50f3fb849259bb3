/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vmswapctl/units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "queue/base/assert.h"
#include "queue/base/bits.h"

/* JSON integers are signed. */
#define SIZE_BYTES_MAX 0x1p62

/* A plain decimal number: strtod() alone would take " 1", "0x1", "inf" and "nan", too. */
static bool parse_decimal(const char *text, double *ret_number, const char **ret_end)
{
	size_t length = strspn(text, "0123456789.");
	char *end;

	if (length == 0 || !isdigit((unsigned char)text[0]))
		return false;
	*ret_number = strtod(text, &end);
	*ret_end = end;
	return end == text + length && isfinite(*ret_number);
}

/* The power of 1024 behind a number, -1 when it is none. */
static int parse_suffix(const char *suffix)
{
	static const char letters[] = "KMGT";
	const char *letter = *suffix ? strchr(letters, toupper((unsigned char)*suffix)) : NULL;

	if (*suffix == '\0')
		return 0;
	if (!letter)
		return -1;
	if (suffix[1] != '\0' && strcasecmp(suffix + 1, "iB") != 0 &&
		strcasecmp(suffix + 1, "B") != 0)
		return -1;
	return (int)(letter - letters) + 1;
}

bool units_parse_size(const char *text, uint64_t *ret_bytes)
{
	ASSERT(text && ret_bytes);
	const char *end;
	double number;
	int power;

	if (!parse_decimal(text, &number, &end))
		return false;
	power = parse_suffix(end);
	if (power < 0)
		return false;
	number = ldexp(number, 10 * power);
	if (number < 1 || number > SIZE_BYTES_MAX)
		return false;
	*ret_bytes = (uint64_t)number;
	return true;
}

bool units_parse_count(const char *text, uint64_t *ret_count)
{
	ASSERT(text && ret_count);
	char *end;
	unsigned long number;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || number < 1 || number > INT32_MAX)
		return false;
	*ret_count = number;
	return true;
}

bool units_parse_seconds(const char *text, double max_s, double *ret_seconds)
{
	ASSERT(text && ret_seconds);
	const char *end;
	double seconds;

	if (!parse_decimal(text, &seconds, &end) || *end != '\0' || seconds > max_s)
		return false;
	*ret_seconds = seconds;
	return true;
}

const char *units_size(char *text, uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double number = (double)bytes;
	size_t power = 0;

	while (number >= 1024 && power + 1 < ARRAY_SIZE(names)) {
		number /= 1024;
		power++;
	}
	if (bytes == 0)
		(void)snprintf(text, UNITS_BYTES, "0");
	else
		(void)snprintf(text, UNITS_BYTES, "%.*f %s", number < 10 && power > 0 ? 1 : 0,
			number, names[power]);
	return text;
}

const char *units_time_us(char *text, double us)
{
	if (us < 1000)
		(void)snprintf(text, UNITS_BYTES, "%.*f us", us < 10 ? 1 : 0, us);
	else if (us < 1e6)
		(void)snprintf(text, UNITS_BYTES, "%.1f ms", us / 1e3);
	else
		(void)snprintf(text, UNITS_BYTES, "%.2f s", us / 1e6);
	return text;
}

const char *units_clock(char *text, uint64_t seconds)
{
	unsigned hours = (unsigned)(seconds / 3600);
	unsigned minutes = (unsigned)(seconds / 60 % 60);

	if (hours > 0)
		(void)snprintf(text, UNITS_BYTES, "%u:%02u:%02u", hours, minutes,
			(unsigned)(seconds % 60));
	else
		(void)snprintf(text, UNITS_BYTES, "%u:%02u", minutes, (unsigned)(seconds % 60));
	return text;
}
