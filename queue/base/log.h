/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging to stderr, one line a message, with the journal's <N> priority prefix when stderr is not
 * a terminal. Only ctl logs; queue, io and engine return errors and count. Never called on a shard
 * thread: a blocked stderr must not stop a guest.
 */
#ifndef VMSWAP_QUEUE_BASE_LOG_H
#define VMSWAP_QUEUE_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR = 3, /* the numbers are syslog's */
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* Messages above @level are dropped. The default is LOG_LEVEL_INFO. Any thread. */
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
