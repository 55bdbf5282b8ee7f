#include "console_child.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"

enum { PATIENCE_MS = 3000, PROGRAM_SIZE = 4096, WORDS_MAX = 16, PORT_TEXT_MAX = 8 };

static const char *const shell_name = "muster";

__attribute__((format(printf, 3, 4))) static int complain(char message[MESSAGE_SIZE_MAX], int rc,
							  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, MESSAGE_SIZE_MAX, format, args);
	va_end(args);
	return rc;
}

int console_prepare(struct settings *settings, char message[MESSAGE_SIZE_MAX])
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return complain(
			message, -ERR_USAGE,
			"--console: there is no terminal; start it on one (docker run -it), or "
			"leave --console out");
	if (settings->log.file)
		return 0;
	if (snprintf(settings->console_log, sizeof(settings->console_log), "%s/nameserver.log",
		     settings->data) >= (int)sizeof(settings->console_log))
		return complain(message, -ERR_NAME_TOO_LONG, "--data: %s",
				error_text(-ERR_NAME_TOO_LONG));
	settings->log.file = settings->console_log;
	return 0;
}

/* ---- starting */

/* Beside this program, else wherever a shell would find it. */
static const char *program_find(char ret[PROGRAM_SIZE])
{
	ssize_t size = readlink("/proc/self/exe", ret, PROGRAM_SIZE - 1);
	char *slash;

	if (size < 0)
		return shell_name;
	ret[size] = '\0';
	slash = strrchr(ret, '/');
	if (!slash || (size_t)(slash - ret) + strlen(shell_name) + 2 > PROGRAM_SIZE)
		return shell_name;
	memcpy(slash + 1, shell_name, strlen(shell_name) + 1);
	return access(ret, X_OK) == 0 ? ret : shell_name;
}

static void on_closed(uv_handle_t *handle)
{
	struct console_child *child = handle->data;

	uv_close((uv_handle_t *)&child->patience, NULL);
}

static void on_exit_(uv_process_t *process, int64_t status, int number)
{
	struct console_child *child = process->data;

	(void)status;
	(void)number;
	child->running = false;
	/* It may have been killed, and left the terminal to us as it was. */
	tcsetattr(STDIN_FILENO, TCSADRAIN, &child->terminal);
	uv_close((uv_handle_t *)process, on_closed);
	child->ended(child->context);
}

/* Ctrl-C, Ctrl-Z and the like are for the shell, which is in the same group. */
static void keys_leave(void)
{
	static const int numbers[] = { SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signal(numbers[i], SIG_IGN);
}

static void words_fill(char *words[WORDS_MAX], const char *program, const struct console_how *how,
		       const char *beacon_port)
{
	const char *const given[] = { program,      "--nameserver",  how->address, "--cluster",
				      how->cluster, "--beacon-port", beacon_port,  "--console" };

	/* exec() takes them as writable and leaves them alone. */
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		words[i] = (char *)(uintptr_t)given[i];
	words[ARRAY_SIZE(given)] = NULL;
}

int console_start(struct console_child *child, uv_loop_t *loop, const struct console_how *how,
		  char message[MESSAGE_SIZE_MAX])
{
	uv_stdio_container_t streams[3];
	uv_process_options_t options = { .exit_cb = on_exit_, .stdio_count = 3, .stdio = streams };
	char program[PROGRAM_SIZE], beacon_port[PORT_TEXT_MAX];
	char *words[WORDS_MAX];
	int rc;

	for (int i = 0; i < 3; i++)
		streams[i] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = i };
	snprintf(beacon_port, sizeof(beacon_port), "%u", how->settings->beacon_port);
	words_fill(words, program_find(program), how, beacon_port);
	options.file = words[0];
	options.args = words;
	child->ended = how->ended;
	child->context = how->context;
	child->process.data = child->patience.data = child;
	tcgetattr(STDIN_FILENO, &child->terminal);
	printf("The log is in %s; `exit` stops the name server.\n", how->settings->log.file);
	fflush(stdout);
	uv_timer_init(loop, &child->patience);
	rc = uv_spawn(loop, &child->process, &options);
	if (rc < 0) {
		uv_close((uv_handle_t *)&child->process, on_closed);
		return complain(message, error_from_errno(-rc),
				"--console: %s cannot be started: %s", words[0], uv_strerror(rc));
	}
	child->running = true;
	keys_leave();
	return 0;
}

/* ---- stopping */

static void on_impatient(uv_timer_t *timer)
{
	struct console_child *child = timer->data;

	if (child->running)
		uv_process_kill(&child->process, SIGKILL);
}

void console_stop(struct console_child *child)
{
	if (!child->running)
		return;
	uv_process_kill(&child->process, SIGTERM);
	uv_timer_start(&child->patience, on_impatient, PATIENCE_MS, 0);
	while (child->running)
		uv_run(child->process.loop, UV_RUN_ONCE);
}
