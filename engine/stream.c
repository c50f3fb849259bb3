/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stream.h"

#include "engine/vm.h"
#include "queue/base/assert.h"

struct stream *stream_hit(struct vm_shard *mine, uint64_t page)
{
	struct stream *oldest = &mine->stream[0];

	mine->stream_clock++;
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct stream *stream = &mine->stream[i];

		if (stream->window != 0 && stream->next_page == page) {
			/* A page that comes with another is touched unseen. */
			stream->window = mine->recorder || mine->is_plain
						 ? 1
						 : MIN(2 * stream->window, STREAM_PAGES_MAX);
			stream->age = mine->stream_clock;
			return stream;
		}
		/* by difference: the clock may wrap */
		if (mine->stream_clock - stream->age > mine->stream_clock - oldest->age)
			oldest = stream;
	}
	*oldest = (struct stream){.next_page = page + 1, .window = 1, .age = mine->stream_clock};
	return oldest;
}

void stream_advance(struct stream *stream, uint64_t next_page)
{
	ASSERT(stream->window > 0);
	ASSERT(stream->window <= STREAM_PAGES_MAX);
	stream->next_page = next_page;
}
