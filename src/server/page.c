/* SPDX-License-Identifier: BSD-3-Clause */
/* page: page.html in the program, see page.h. The assembler reads the file. */
#include "server/page.h"

__asm__(".pushsection .rodata\n"
        ".hidden page_begin\n.globl page_begin\npage_begin:\n"
        ".incbin \"src/server/page.html\"\n"
        ".hidden page_end\n.globl page_end\npage_end:\n"
        ".byte 0\n"
        ".popsection\n");

const char *page_text(size_t *ret_len)
{
	extern const char page_begin[], page_end[];
	*ret_len = (size_t)(page_end - page_begin);
	return page_begin;
}
