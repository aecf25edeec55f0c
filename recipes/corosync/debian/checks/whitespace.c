/* An empty word of corosync.conf has no last character: built with AddressSanitizer, which ends it otherwise. */
#include <assert.h>
#include <string.h>

#include "remove_whitespace.h" /* the function alone, cut out of exec/coroparse.c */

static const char *trim(const char *text, int colon_and_brace)
{
	static char line[512];

	/* at the start of the buffer, as where a line starts with a colon */
	strcpy(line, text);
	return remove_whitespace(line, colon_and_brace);
}

int main(void)
{
	char word[1] = "";

	assert(*remove_whitespace(word, 0) == '\0');
	assert(strcmp(trim("", 1), "") == 0);
	assert(strcmp(trim(" \t ", 0), "") == 0);
	assert(strcmp(trim(" totem {", 1), "totem") == 0);
	assert(strcmp(trim("\tversion: 2 ", 0), "version: 2") == 0);
	return 0;
}
