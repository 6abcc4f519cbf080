/* SPDX-License-Identifier: GPL-2.0 */
#if !defined(_TRACE_KVM_LPAGE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_LPAGE_H

#include <linux/tracepoint.h>

#include "lpage.h"

/* The events stand with KVM's other MMU events, from a header of their own. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvmmmu
#undef TRACE_SYSTEM_VAR
#define TRACE_SYSTEM_VAR kvmmmu_lpage

TRACE_DEFINE_ENUM(KVM_LPAGE_SKIP_LEVEL);
TRACE_DEFINE_ENUM(KVM_LPAGE_SKIP_EMPTY);
TRACE_DEFINE_ENUM(KVM_LPAGE_SKIP_NX);
TRACE_DEFINE_ENUM(KVM_LPAGE_SKIP_MIXED);

TRACE_EVENT(kvm_mmu_lpage_promote,
	    TP_PROTO(int as_id, u64 gfn, int level, u64 spte, int nr_leaves),
	    TP_ARGS(as_id, gfn, level, spte, nr_leaves),

	    TP_STRUCT__entry(__field(u64, gfn)
			     __field(u64, spte)
			     __field(int, as_id)
			     __field(int, level)
			     __field(int, nr_leaves)
	    ),

	    TP_fast_assign(__entry->gfn = gfn;
			   __entry->spte = spte;
			   __entry->as_id = as_id;
			   __entry->level = level;
			   __entry->nr_leaves = nr_leaves;
	    ),

	    TP_printk("as_id %d gfn 0x%llx level %d spte 0x%llx from %d leaves",
		      __entry->as_id, __entry->gfn, __entry->level,
		      __entry->spte, __entry->nr_leaves)
);

TRACE_EVENT(kvm_mmu_lpage_promote_skip,
	    TP_PROTO(int as_id, u64 gfn, int level, int reason),
	    TP_ARGS(as_id, gfn, level, reason),

	    TP_STRUCT__entry(__field(u64, gfn)
			     __field(int, as_id)
			     __field(int, level)
			     __field(int, reason)
	    ),

	    TP_fast_assign(__entry->gfn = gfn;
			   __entry->as_id = as_id;
			   __entry->level = level;
			   __entry->reason = reason;
	    ),

	    TP_printk("as_id %d gfn 0x%llx level %d reason %s",
		      __entry->as_id, __entry->gfn, __entry->level,
		      __print_symbolic(__entry->reason,
				       { KVM_LPAGE_SKIP_LEVEL, "level" },
				       { KVM_LPAGE_SKIP_EMPTY, "empty" },
				       { KVM_LPAGE_SKIP_NX, "nx" },
				       { KVM_LPAGE_SKIP_MIXED, "mixed" }))
);

TRACE_EVENT(kvm_mmu_lpage_merge,
	    TP_PROTO(u64 gfn, u64 pfn, int error),
	    TP_ARGS(gfn, pfn, error),

	    TP_STRUCT__entry(__field(u64, gfn)
			     __field(u64, pfn)
			     __field(int, error)
	    ),

	    TP_fast_assign(__entry->gfn = gfn;
			   __entry->pfn = pfn;
			   __entry->error = error;
	    ),

	    TP_printk("gfn 0x%llx pfn 0x%llx error %d",
		      __entry->gfn, __entry->pfn, __entry->error)
);

#endif /* _TRACE_KVM_LPAGE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH mmu
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE lpage_trace

/* This part must be outside protection */
#include <trace/define_trace.h>
