/* An empty word of corosync.conf has no last character. Words begin where a page begins, and nobody may read the page
 * before it: who looks for one ends here, on every architecture, emulated or not. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remove_whitespace.h" /* the function alone, cut out of exec/coroparse.c */

static char *start_page(void)
{
	size_t size = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert(pages != MAP_FAILED);
	assert(mprotect(pages, size, PROT_NONE) == 0);
	return pages + size;
}

static const char *trim(const char *text, int colon_and_brace)
{
	return remove_whitespace(strcpy(start_page(), text), colon_and_brace);
}

int main(void)
{
	assert(strcmp(trim("", 0), "") == 0);
	assert(strcmp(trim("", 1), "") == 0);
	assert(strcmp(trim(" \t ", 0), "") == 0);
	assert(strcmp(trim(" totem {", 1), "totem") == 0);
	assert(strcmp(trim("\tversion: 2 ", 0), "version: 2") == 0);
	return 0;
}
