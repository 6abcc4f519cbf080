/* SPDX-License-Identifier: GPL-2.0 */
#if !defined(_TRACE_SNP_DIRECTMAP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_SNP_DIRECTMAP_H

#include <linux/tracepoint.h>

#include "directmap.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM snp_directmap

TRACE_DEFINE_ENUM(SNP_DIRECTMAP_RESTORED_2M);
TRACE_DEFINE_ENUM(SNP_DIRECTMAP_RESTORED_1G);
TRACE_DEFINE_ENUM(SNP_DIRECTMAP_KEPT_PRIVATE);
TRACE_DEFINE_ENUM(SNP_DIRECTMAP_KEPT_MIXED);

TRACE_EVENT(snp_directmap_split,
	    TP_PROTO(u64 pfn, unsigned long nr, int nr_2m, int nr_1g, int ret),
	    TP_ARGS(pfn, nr, nr_2m, nr_1g, ret),

	    TP_STRUCT__entry(__field(u64, pfn)
			     __field(unsigned long, nr)
			     __field(int, nr_2m)
			     __field(int, nr_1g)
			     __field(int, ret)
	    ),

	    TP_fast_assign(__entry->pfn = pfn;
			   __entry->nr = nr;
			   __entry->nr_2m = nr_2m;
			   __entry->nr_1g = nr_1g;
			   __entry->ret = ret;
	    ),

	    TP_printk("pfn 0x%llx regions %lu split_2m %d split_1g %d ret %d", __entry->pfn,
		      __entry->nr, __entry->nr_2m, __entry->nr_1g, __entry->ret)
);

TRACE_EVENT(snp_directmap_skip,
	    TP_PROTO(u64 pfn, int level),
	    TP_ARGS(pfn, level),

	    TP_STRUCT__entry(__field(u64, pfn)
			     __field(int, level)
	    ),

	    TP_fast_assign(__entry->pfn = pfn;
			   __entry->level = level;
	    ),

	    TP_printk("pfn 0x%llx reason %s", __entry->pfn,
		      __entry->level == PG_LEVEL_4K ? "mapped by 4K" : "2M entry")
);

TRACE_EVENT(snp_directmap_restore,
	    TP_PROTO(u64 pfn, int level, int result),
	    TP_ARGS(pfn, level, result),

	    TP_STRUCT__entry(__field(u64, pfn)
			     __field(int, level)
			     __field(int, result)
	    ),

	    TP_fast_assign(__entry->pfn = pfn;
			   __entry->level = level;
			   __entry->result = result;
	    ),

	    TP_printk("pfn 0x%llx level %d %s", __entry->pfn, __entry->level,
		      __print_symbolic(__entry->result,
				       { SNP_DIRECTMAP_RESTORED_2M, "restored" },
				       { SNP_DIRECTMAP_RESTORED_1G, "restored" },
				       { SNP_DIRECTMAP_KEPT_PRIVATE, "has a private page" },
				       { SNP_DIRECTMAP_KEPT_MIXED, "attributes differ" }))
);

#endif /* _TRACE_SNP_DIRECTMAP_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE directmap_trace

/* This part must be outside protection */
#include <trace/define_trace.h>
