/* SPDX-License-Identifier: GPL-2.0 */
#if !defined(_TRACE_KVM_GMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_GMEM_H

#include <linux/tracepoint.h>

/* The events stand with KVM's others, from a header of their own. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm
#undef TRACE_SYSTEM_VAR
#define TRACE_SYSTEM_VAR kvm_gmem

/* @page is NULL if there are single pages instead. */
TRACE_EVENT(kvm_gmem_block,
	    TP_PROTO(unsigned long ino, unsigned long index, struct page *page),
	    TP_ARGS(ino, index, page),

	    TP_STRUCT__entry(__field(unsigned long, ino)
			     __field(unsigned long, index)
			     __field(unsigned long, pfn)
	    ),

	    TP_fast_assign(__entry->ino = ino;
			   __entry->index = index;
			   __entry->pfn = page ? page_to_pfn(page) : 0;
	    ),

	    TP_printk("ino %lu index 0x%lx pfn 0x%lx%s", __entry->ino, __entry->index,
		      __entry->pfn, __entry->pfn ? "" : ": single pages")
);

#endif /* _TRACE_KVM_GMEM_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE guest_memfd_trace

#include <trace/define_trace.h>
