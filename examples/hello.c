/* Stores a file, reads it back and removes it.
 *
 *     cc hello.c $(pkg-config --cflags --libs muster) -o hello
 *     ./hello [NAMESERVER]
 */
#include <muster.h>
#include <stdio.h>
#include <string.h>

static int hello(struct muster *session)
{
	const char text[] = "Hello, all of you machines.\n";
	char back[sizeof(text)] = "";
	struct muster_put_args put = {
		.path = "/hello.txt",
		.source = { .data = text, .size = strlen(text) },
		.flags = MUSTER_REPLACE,
	};
	struct muster_get_args get = {
		.path = "/hello.txt",
		.sink = { .data = back, .size = strlen(text) },
	};
	struct muster_put_result stored;
	int rc = muster_put(session, &put, &stored);

	if (rc == 0)
		rc = muster_get(session, &get, NULL);
	if (rc == 0)
		printf("%u copies of: %s", stored.copies, back);
	return rc < 0 ? rc : muster_remove(session, "/hello.txt", 0, NULL);
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 1 ? argv[1] : NULL };
	struct muster *session = NULL;
	int rc = muster_open(&options, &session);

	if (rc == 0)
		rc = hello(session);
	if (rc < 0)
		fprintf(stderr, "hello: %s\n", muster_error_text(rc));
	muster_close(session);
	return rc < 0;
}
