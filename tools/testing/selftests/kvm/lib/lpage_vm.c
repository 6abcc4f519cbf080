// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm/barrier.h>
#include <linux/kvm_lpage.h>

#include "kselftest.h"
#include "lpage_tasks.h"
#include "lpage_vm.h"
#include "ucall_common.h"

#define SUBTEST_SECONDS		300

/* Guest side */

static struct guest_op guest_ops[NR_VCPUS];

static void guest_hammer(struct guest_op *op)
{
	u64 *word, n;

	/* Each pass finds in every page what the pass before it has left. */
	for (n = op->progress; !READ_ONCE(op->stop); n++) {
		word = (u64 *)(op->gva + n % op->nr_pages * op->stride);
		GUEST_ASSERT_EQ(READ_ONCE(*word), n / op->nr_pages);
		WRITE_ONCE(*word, n / op->nr_pages + 1);
		WRITE_ONCE(op->progress, n + 1);
	}
}

static void guest_run_op(struct guest_op *op)
{
	u64 i, gva;

	if (op->type == OP_HAMMER) {
		guest_hammer(op);
		return;
	}

	for (i = 0; i < op->nr_pages; i++) {
		gva = op->gva + i * op->stride;

		switch (op->type) {
		case OP_WRITE_SOME:
			if (chosen(gva, op->gen, op->share))
				WRITE_ONCE(*(u64 *)gva, pattern(gva, op->gen));
			break;
		case OP_WRITE:
			WRITE_ONCE(*(u64 *)gva, pattern(gva, op->gen));
			break;
		case OP_VERIFY:
			GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)gva), pattern(gva, op->gen));
			break;
		case OP_VERIFY_ZERO:
			GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)gva), 0);
			break;
		case OP_CALL:
			((void (*)(void))gva)();
			break;
		case OP_POKE:
			WRITE_ONCE(*(u64 *)gva, op->gen);
			break;
		}
	}
}

static void guest_main(u64 idx)
{
	for (;;) {
		guest_run_op(&guest_ops[idx]);
		GUEST_SYNC(0);
	}
}

/* L2 does the operations of vCPU 0, then L1 does those of "vCPU" 1. */
static void guest_l2(void)
{
	for (;;) {
		guest_run_op(&guest_ops[0]);
		vmmcall();
	}
}

static void guest_l1(struct svm_test_data *svm, u64 npt)
{
	static unsigned long stack[512];
	struct vmcb *vmcb = svm->vmcb;

	generic_svm_setup(svm, guest_l2);
	vmcb->save.rsp = (u64)&stack[ARRAY_SIZE(stack) - 1];
	if (npt) {
		vmcb->control.misc_ctl |= SVM_MISC_ENABLE_NP;
		vmcb->control.nested_cr3 = npt;
	}

	for (;;) {
		/* L1 may have changed L2's tables. */
		vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ASID;
		run_guest(vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
		vmcb->save.rip += 3;

		guest_run_op(&guest_ops[1]);
		GUEST_SYNC(0);
	}
}

/* Host side: VMs, slots */

/*
 * Map all of the guest's code, data and page tables, so that no fault there is
 * mistaken for one in the memory under test.
 */
static void vm_prefault(struct test_vm *t)
{
	struct userspace_mem_region *region = memslot2region(t->vm, 0);
	struct kvm_pre_fault_memory range = { .size = region->region.memory_size };
	char *mem = region->host_mem;
	u64 i;

	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		skip("needs KVM_CAP_PRE_FAULT_MEMORY");
	/* Likewise for what khugepaged would do there. */
	TEST_ASSERT(!madvise(mem, range.size, MADV_NOHUGEPAGE), "madvise() failed");
	/* Nor must there be zero pages, which a write would replace. */
	for (i = 0; i < range.size; i += SZ_4K)
		WRITE_ONCE(mem[i], READ_ONCE(mem[i]));
	while (range.size)
		vcpu_ioctl(t->vcpu[0], KVM_PRE_FAULT_MEMORY, &range);
}

static void vm_setup(struct test_vm *t)
{
	virt_map_level(t->vm, TEST_GPA - TEST_MARGIN, TEST_GPA - TEST_MARGIN,
		       TEST_MARGIN + TEST_SPACE, PG_LEVEL_2M);
	t->ops = addr_gva2hva(t->vm, (gva_t)guest_ops);
}

static void vm_set_mode(struct test_vm *t, enum log_mode mode)
{
	u64 flags = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	t->mode = mode;
	if (mode == LOG_RING || mode == LOG_RING_INITIALLY_SET) {
		if (kvm_check_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL) < RING_ENTRIES)
			skip("needs KVM_CAP_DIRTY_LOG_RING_ACQ_REL");
		vm_enable_dirty_ring(t->vm, RING_ENTRIES * sizeof(struct kvm_dirty_gfn));
	}

	if (mode == LOG_LEGACY || mode == LOG_RING)
		return;
	if (mode != LOG_MANUAL)
		flags |= KVM_DIRTY_LOG_INITIALLY_SET;
	if ((kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & flags) != flags)
		skip("needs KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	vm_enable_cap(t->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, flags);
}

static void vm_new_type(struct test_vm *t, u32 type, int nr_vcpus, enum log_mode mode,
			void (*guest_code)(u64 idx))
{
	struct vm_shape shape = VM_SHAPE_DEFAULT;
	int i;

	shape.type = type;
	t->nr_vcpus = nr_vcpus;
	t->vm = __vm_create(shape, nr_vcpus, 0);
	/* Rings must be there before the first vCPU. */
	vm_set_mode(t, mode);
	for (i = 0; i < nr_vcpus; i++)
		t->vcpu[i] = vm_vcpu_add(t->vm, i, guest_code);
	vm_setup(t);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_args_set(t->vcpu[i], 1, (u64)i);
	vm_prefault(t);
}

void vm_new_guest(struct test_vm *t, int nr_vcpus, enum log_mode mode,
		  void (*guest_code)(u64 idx))
{
	vm_new_type(t, KVM_X86_DEFAULT_VM, nr_vcpus, mode, guest_code);
}

void vm_new_mode(struct test_vm *t, int nr_vcpus, enum log_mode mode)
{
	vm_new_guest(t, nr_vcpus, mode, guest_main);
}

bool have_protected_vms(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM);
}

void vm_new_protected_guest(struct test_vm *t, int nr_vcpus, enum log_mode mode,
			    void (*guest_code)(u64 idx))
{
	if (!have_protected_vms())
		skip("needs KVM_X86_SW_PROTECTED_VM");

	vm_new_type(t, KVM_X86_SW_PROTECTED_VM, nr_vcpus, mode, guest_code);
}

void vm_new_protected(struct test_vm *t, int nr_vcpus)
{
	vm_new_protected_guest(t, nr_vcpus, LOG_LEGACY, guest_main);
}

void vm_new_nested(struct test_vm *t, u64 npt)
{
	gva_t svm_gva;

	if (!kvm_cpu_has(X86_FEATURE_SVM) || !kvm_cpu_has(X86_FEATURE_NPT))
		skip("needs nested SVM with NPT");

	t->nr_vcpus = 1;
	t->mode = LOG_LEGACY;
	t->vm = vm_create_with_one_vcpu(&t->vcpu[0], guest_l1);
	vm_setup(t);
	vcpu_alloc_svm(t->vm, &svm_gva);
	vcpu_args_set(t->vcpu[0], 2, svm_gva, npt);
	vm_prefault(t);
}

void slot_set(struct slot *s, u32 flags)
{
	vm_set_user_memory_region(s->t->vm, s->id, flags, s->gpa, s->size, s->hva);
}

void slot_delete(struct slot *s)
{
	vm_set_user_memory_region(s->t->vm, s->id, 0, s->gpa, 0, NULL);
}

void slot_init(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva)
{
	*s = (struct slot) {
		.t = t, .id = id, .gpa = gpa, .size = size, .stride = SZ_4K, .hva = hva,
	};
}

void slot_add(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva)
{
	slot_init(t, s, id, gpa, size, hva);
	slot_set(s, 0);
}

void slot_add_gmem(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva,
		   int fd, u64 offset)
{
	slot_init(t, s, id, gpa, size, hva);
	vm_set_user_memory_region2(t->vm, id, KVM_MEM_GUEST_MEMFD, gpa, size, hva, fd, offset);
}

void slot_set_private(struct slot *s, u64 first, u64 nr_pages, bool private)
{
	vm_set_memory_attributes(s->t->vm, s->gpa + first * s->stride, nr_pages * s->stride,
				 private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0);
}

void op_set(struct test_vm *t, int vcpu, enum guest_op_type type, u64 gva,
	    u64 nr_pages, u64 stride, u64 gen)
{
	t->ops[vcpu] = (struct guest_op) {
		.type = type, .gva = gva, .nr_pages = nr_pages, .stride = stride, .gen = gen,
	};
}

bool op_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return true;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		return false;
	}
}

void vcpu_run_op(struct test_vm *t, int vcpu)
{
	vcpu_run(t->vcpu[vcpu]);
	TEST_ASSERT(op_done(t->vcpu[vcpu]), "Unexpected exit: %s",
		    exit_reason_str(t->vcpu[vcpu]->run->exit_reason));
}

void guest_do(struct slot *s, enum guest_op_type type, u64 first, u64 nr_pages, u64 gen)
{
	op_set(s->t, 0, type, s->gpa + first * s->stride, nr_pages, s->stride, gen);
	vcpu_run_op(s->t, 0);
}

void guest_write_some(struct slot *s, u64 gen, u64 share)
{
	u64 nr = s->t->nr_vcpus;
	int i;

	for (i = 0; i < nr; i++) {
		op_set(s->t, i, OP_WRITE_SOME, s->gpa + i * s->stride,
		       (slot_pages(s) + nr - 1 - i) / nr, nr * s->stride, gen);
		s->t->ops[i].share = share;
		vcpu_run_op(s->t, i);
	}
}

void host_write(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		*host_word(s, i) = pattern(s->gpa + i * s->stride, gen);
}

void host_verify(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		TEST_ASSERT(*host_word(s, i) == pattern(s->gpa + i * s->stride, gen),
			    "Host finds 0x%lx in page %lu, want 0x%lx", *host_word(s, i), i,
			    pattern(s->gpa + i * s->stride, gen));
}

void expect_efault(struct test_vm *t)
{
	TEST_ASSERT(__vcpu_run(t->vcpu[0]) && errno == EFAULT,
		    "The guest wrote to memory that is read-only in the host");
}

/* Host side: statistics */

static const char * const stat_names[NR_STATS] = {
	[PAGES_4K] = "pages_4k",
	[PAGES_2M] = "pages_2m",
	[PAGES_1G] = "pages_1g",
	[PROMOTED_2M] = "lpage_promoted_2m",
	[PROMOTED_1G] = "lpage_promoted_1g",
	[SKIP_LEVEL] = "lpage_promote_skip_level",
	[SKIP_EMPTY] = "lpage_promote_skip_empty",
	[SKIP_NX] = "lpage_promote_skip_nx",
	[SKIP_MIXED] = "lpage_promote_skip_mixed",
	[PROMOTE_FLUSHES] = "lpage_promote_flushes",
	[SPLIT_2M] = "lpage_split_2m",
	[SPLIT_1G] = "lpage_split_1g",
	[SPLIT_NOMEM] = "lpage_split_nomem",
	[FLUSH_REQUESTS] = "remote_tlb_flush_requests",
	[CONVERT_SPLITS] = "lpage_convert_splits",
	[GMEM_BLOCKS] = "gmem_blocks",
	[GMEM_FALLBACKS] = "gmem_block_fallbacks",
};

struct stats stats_read(struct test_vm *t)
{
	struct stats stats;

	lpage_vm_stats(t->vm, stat_names, stats.val, NR_STATS);
	stats.sec_page_tables_kb = lpage_sec_page_tables_kb();
	return stats;
}

u64 faults_taken(struct test_vm *t)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < t->nr_vcpus; i++)
		sum += lpage_vcpu_stat(t->vcpu[i], "pf_taken");
	return sum;
}

void expect_delta(unsigned int line, const struct stats *before,
		  const struct stats *after, enum stat_id id, s64 want)
{
	s64 delta = after->val[id] - before->val[id];

	test_assert(delta == want, "delta == want", program_invocation_short_name, line,
		    "%s changed by %ld, want %ld", stat_names[id], delta, want);
}

/*
 * The old tables may be in the paging-structure caches of any CPU, so they may
 * be freed only after a flush; and one flush is to serve 64 promotions.  There
 * may be one more, where a table needs mmu_lock for write.
 */
void expect_promoted(unsigned int line, const struct stats *before,
		     const struct stats *after, u64 nr_2m, u64 nr_1g)
{
	u64 flushes = after->val[PROMOTE_FLUSHES] - before->val[PROMOTE_FLUSHES];
	u64 max_flushes = (nr_2m + 63) / 64 + (nr_1g + 63) / 64 + 1;

	expect_delta(line, before, after, PROMOTED_2M, nr_2m);
	expect_delta(line, before, after, PROMOTED_1G, nr_1g);
	expect_delta(line, before, after, FLUSH_REQUESTS, flushes);
	test_assert(!flushes == !(nr_2m + nr_1g) && flushes <= max_flushes,
		    "0 < flushes <= max_flushes", program_invocation_short_name, line,
		    "%lu TLB flushes for %lu promotions, want 1 to %lu",
		    flushes, nr_2m + nr_1g, max_flushes);
}

void expect_skips(unsigned int line, const struct stats *before,
		  const struct stats *after, u64 level, u64 empty, u64 nx, u64 mixed)
{
	expect_delta(line, before, after, SKIP_LEVEL, level);
	expect_delta(line, before, after, SKIP_EMPTY, empty);
	expect_delta(line, before, after, SKIP_NX, nx);
	expect_delta(line, before, after, SKIP_MIXED, mixed);
}

void expect_faults(unsigned int line, struct test_vm *t, u64 before, u64 want)
{
	u64 taken = faults_taken(t) - before;

	test_assert(taken == want, "taken == want", program_invocation_short_name, line,
		    "%lu NPT faults, want %lu", taken, want);
}

/* Host side: parameters and the like */

int file_write(const char *path, const char *value)
{
	int fd, err = 0;

	fd = open(path, O_WRONLY);
	TEST_ASSERT(fd >= 0, "Cannot open %s", path);
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	return err;
}

void file_read(const char *path, char *value, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd >= 0, "Cannot open %s", path);
	len = read(fd, value, size - 1);
	TEST_ASSERT(len > 0, "Cannot read %s", path);
	value[len] = '\0';
	close(fd);
}

bool have_lpage_split(void)
{
	return !access(SPLIT_PARAM, F_OK);
}

void require_lpage_split(void)
{
	if (!have_lpage_split())
		skip("kvm.ko has no lpage_split");
}

void param_set(const char *path, const char *value)
{
	int err = file_write(path, value);

	TEST_ASSERT(!err, "Writing %s to %s gave %s", value, path, strerror(err));
}

int split_cap(struct test_vm *t, u64 chunk, u64 threads)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_LPAGE_SPLIT,
		.args = { chunk, threads },
	};

	return __vm_ioctl(t->vm, KVM_ENABLE_CAP, &cap);
}

void use_threads(struct test_vm *t, u64 chunk, u64 threads)
{
	TEST_ASSERT(!split_cap(t, chunk, threads), "Cannot set chunk and threads");
}

/* Host side: memory */

char *reserve(u64 size, u64 align)
{
	char *mem;

	mem = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %lu bytes failed", size);
	return align_ptr_up(mem, align);
}

void map_4k(char *mem, u64 size)
{
	mem = mmap(mem, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %lu bytes failed", size);
	TEST_ASSERT(!madvise(mem, size, MADV_NOHUGEPAGE), "madvise() failed");
}

void map_hugetlb(char *mem, u64 size, u64 page_size)
{
	int order_flag = __builtin_ctzll(page_size) << MAP_HUGE_SHIFT;

	mem = mmap(mem, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED | order_flag, -1, 0);
	if (mem == MAP_FAILED)
		skip("needs %lu free hugetlb pages of %lu kB", size / page_size,
		     page_size / SZ_1K);
}

char *alloc_4k(u64 size)
{
	char *mem = reserve(size, SZ_2M);

	map_4k(mem, size);
	return mem;
}

char *alloc_hugetlb(u64 size, u64 page_size)
{
	char *mem = reserve(size, page_size);

	map_hugetlb(mem, size, page_size);
	return mem;
}

/* AnonHugePages of the mapping that @mem starts. */
static u64 anon_huge_kb(void *mem)
{
	unsigned long long start, end, kb = 0;
	bool found = false;
	char line[512];
	FILE *smaps;

	smaps = fopen("/proc/self/smaps", "r");
	TEST_ASSERT(smaps, "Cannot open /proc/self/smaps");
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			found = start == (uintptr_t)mem;
		else if (found && sscanf(line, "AnonHugePages: %llu kB", &kb) == 1)
			break;
	}
	fclose(smaps);
	return kb;
}

void make_thp(char *mem, u64 size)
{
	if (madvise(mem, size, MADV_HUGEPAGE))
		skip("needs transparent huge pages");
	memset(mem, 0, size);
	if (anon_huge_kb(mem) != size / SZ_1K)
		skip("only %lu of %lu kB became transparent huge pages",
		     anon_huge_kb(mem), size / SZ_1K);
}

char *alloc_thp(u64 size)
{
	char *mem = alloc_4k(size);

	make_thp(mem, size);
	return mem;
}

/* Host side: the dirty log */

unsigned long *log_alloc(struct slot *s)
{
	return calloc(s->size / SZ_4K / 64 + 1, sizeof(unsigned long));
}

bool log_has(struct slot *s, const unsigned long *log, u64 page)
{
	u64 bit = page * (s->stride / SZ_4K);

	return log[bit / 64] & (1ul << (bit % 64));
}

void log_expect(struct slot *s, const unsigned long *log, u64 first, u64 nr_pages,
		bool dirty)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		TEST_ASSERT(log_has(s, log, i) == dirty, "Page %lu is %s in the dirty log",
			    i, dirty ? "clean" : "dirty");
}

static u32 ring_collect_vcpu(struct slot *s, struct kvm_vcpu *vcpu, unsigned long *log)
{
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu), *entry;
	u32 nr;

	for (nr = 0; ; vcpu->fetch_index++, nr++) {
		entry = &ring[vcpu->fetch_index % RING_ENTRIES];
		/* Pairs with KVM's release after it has filled the entry. */
		if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
			return nr;
		if (entry->slot == s->id)
			log[entry->offset / 64] |= 1ul << (entry->offset % 64);
		/* The entry has been read: KVM may have it back. */
		smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
	}
}

void ring_collect(struct slot *s, unsigned long *log)
{
	u32 nr = 0, reset;
	int i;

	for (i = 0; i < s->t->nr_vcpus; i++)
		nr += ring_collect_vcpu(s, s->t->vcpu[i], log);
	reset = kvm_vm_reset_dirty_ring(s->t->vm);
	TEST_ASSERT(reset == nr, "%u ring entries reset, want %u", reset, nr);
}

void log_collect(struct slot *s, unsigned long *log)
{
	switch (s->t->mode) {
	case LOG_RING:
	case LOG_RING_INITIALLY_SET:
		memset(log, 0, (s->size / SZ_4K / 64 + 1) * sizeof(*log));
		ring_collect(s, log);
		break;
	case LOG_LEGACY:
		kvm_vm_get_dirty_log(s->t->vm, s->id, log);
		break;
	case LOG_MANUAL:
	case LOG_INITIALLY_SET:
		kvm_vm_get_dirty_log(s->t->vm, s->id, log);
		kvm_vm_clear_dirty_log(s->t->vm, s->id, log, 0, s->size / SZ_4K);
		break;
	}
}

/* Rounds of writing and collecting */

u64 nr_chosen(struct slot *s, u64 gen, u64 share)
{
	u64 i, nr = 0;

	for (i = 0; i < slot_pages(s); i++)
		nr += chosen(s->gpa + i * s->stride, gen, share);
	return nr;
}

void expect_log(struct slot *s, const unsigned long *log, u64 gen, u64 share)
{
	u64 i, nr = 0;

	for (i = 0; i < slot_pages(s); i++)
		TEST_ASSERT(log_has(s, log, i) == chosen(s->gpa + i * s->stride, gen, share),
			    "Page %lu is %s in the dirty log", i,
			    log_has(s, log, i) ? "dirty" : "clean");
	/* Nor is there anything in between, or after the end. */
	for (i = 0; i < s->size / SZ_4K / 64 + 1; i++)
		nr += __builtin_popcountl(log[i]);
	TEST_ASSERT(nr == nr_chosen(s, gen, share), "%lu pages in the dirty log, want %lu",
		    nr, nr_chosen(s, gen, share));
}

void verify_rounds(struct slot *s, u64 base, int nr, u64 share)
{
	u64 i, gen;

	for (i = 0; i < slot_pages(s); i++) {
		for (gen = base + nr; gen > base; gen--)
			if (chosen(s->gpa + i * s->stride, gen, share))
				break;
		host_verify(s, i, 1, gen);
	}
}

void log_rounds(struct slot *s, u64 base, int nr, u64 share, bool one_fault)
{
	unsigned long *log = log_alloc(s);
	u64 gen, faults;

	for (gen = base + 1; gen <= base + nr; gen++) {
		faults = faults_taken(s->t);
		guest_write_some(s, gen, share);
		if (one_fault)
			EXPECT_FAULTS(s->t, faults, nr_chosen(s, gen, share));
		log_collect(s, log);
		expect_log(s, log, gen, share);
	}
	verify_rounds(s, base, nr, share);
	free(log);
}

void populate(struct slot *s)
{
	host_write(s, 0, slot_pages(s), 2);
	guest_verify(s, 0, slot_pages(s), 2);
	guest_write(s, 0, slot_pages(s), 1);
}

void collect_first(struct slot *s)
{
	unsigned long *log;

	if (s->t->mode != LOG_INITIALLY_SET)
		return;

	log = log_alloc(s);
	log_collect(s, log);
	log_expect(s, log, 0, slot_pages(s), true);
	free(log);
}

/* vCPUs that run all the while */

void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	TEST_ASSERT(!pthread_create(thread, NULL, fn, arg), "pthread_create() failed");
}

void give_way(void)
{
	sched_yield();
	/* An emulated CPU lets the others run when it pauses, not when it spins. */
	cpu_relax();
}

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;
	struct kvm_vcpu *vcpu = h->s->t->vcpu[h->vcpu];
	struct kvm_run *run = vcpu->run;
	char *hva;

	for (;;) {
		if (__vcpu_run(vcpu)) {
			/* Host memory is read-only for now: try again. */
			TEST_ASSERT(errno == EFAULT, "KVM_RUN failed");
			give_way();
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			/* The slot is gone for now: be its memory. */
			hva = h->s->hva + (run->mmio.phys_addr - h->s->gpa);
			if (run->mmio.is_write)
				memcpy(hva, run->mmio.data, run->mmio.len);
			else
				memcpy(run->mmio.data, hva, run->mmio.len);
		} else {
			TEST_ASSERT(op_done(vcpu), "Unexpected exit: %s",
				    exit_reason_str(run->exit_reason));
			return NULL;
		}
	}
}

void hammer_start(struct hammer *hammers, struct slot *s)
{
	u64 nr = s->t->nr_vcpus, progress;
	struct guest_op *op;
	int i;

	for (i = 0; i < nr; i++) {
		op = &s->t->ops[i];
		progress = op->type == OP_HAMMER ? op->progress : 0;
		op_set(s->t, i, OP_HAMMER, s->gpa + i * SZ_4K, slot_pages(s) / nr, nr * SZ_4K, 0);
		op->progress = progress;
		hammers[i] = (struct hammer) { .s = s, .vcpu = i };
		thread_start(&hammers[i].thread, hammer_thread, &hammers[i]);
	}
}

void hammer_wait(struct test_vm *t, u64 nr_pages)
{
	u64 until[NR_VCPUS];
	int i;

	for (i = 0; i < t->nr_vcpus; i++)
		until[i] = READ_ONCE(t->ops[i].progress) + nr_pages;
	for (i = 0; i < t->nr_vcpus; i++)
		while (READ_ONCE(t->ops[i].progress) < until[i])
			give_way();
}

void hammer_stop(struct hammer *hammers, struct slot *s)
{
	u64 nr = s->t->nr_vcpus, nr_each = slot_pages(s) / nr, page, progress, want;
	int i;

	for (i = 0; i < nr; i++)
		WRITE_ONCE(s->t->ops[i].stop, 1);
	for (i = 0; i < nr; i++)
		pthread_join(hammers[i].thread, NULL);

	for (page = 0; page < nr_each * nr; page++) {
		progress = s->t->ops[page % nr].progress;
		want = progress / nr_each + (page / nr < progress % nr_each);
		TEST_ASSERT(*host_word(s, page) == want, "Page %lu holds %lu, want %lu",
			    page, *host_word(s, page), want);
	}
}

void host_read(struct slot *s, u64 *words)
{
	u64 i;

	for (i = 0; i < slot_pages(s); i++)
		words[i] = READ_ONCE(*host_word(s, i));
}

/* Races with turning logging on and off */

void *toggle_thread(void *arg)
{
	struct slot *s = arg;
	int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		slot_log(s, true);
		hammer_wait(s->t, 16);
		slot_log(s, false);
	}
	return NULL;
}

void *notifier_thread(void *arg)
{
	struct slot *s = arg;
	char *range, *page;
	int i;

	for (i = 0; i < NOTIFIER_ROUNDS; i++) {
		range = s->hva + i % (s->size / SZ_2M) * SZ_2M;
		page = range + i * 7 % PAGES_PER_2M * SZ_4K;
		TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ), "mprotect() failed");
		TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ | PROT_WRITE), "mprotect() failed");
		/* To a new huge page; best effort, as the kernel promises no more. */
		madvise(range, SZ_2M, MADV_COLLAPSE);
	}
	return NULL;
}

/* Turns logging on and off until it is killed; says in @toggles how often. */
static void __noreturn exit_race_child(u64 size, u64 threads, u64 nr_pages, u64 *toggles)
{
	struct hammer hammers[NR_VCPUS];
	struct test_vm t;
	struct slot s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	vm_new(&t, NR_VCPUS);
	if (have_lpage_split())
		use_threads(&t, SZ_4M, threads);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, size, alloc_hugetlb(size, SZ_2M));
	hammer_start(hammers, &s);
	hammer_wait(&t, nr_pages);
	for (;;) {
		slot_log(&s, true);
		WRITE_ONCE(*toggles, *toggles + 1);
		slot_log(&s, false);
		WRITE_ONCE(*toggles, *toggles + 1);
	}
}

void vm_exit_race(int rounds, u64 size, u64 threads, u64 nr_pages)
{
	u64 *toggles, before_kb;
	int status, round;
	pid_t pid;

	toggles = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(toggles != MAP_FAILED, "mmap() failed");
	before_kb = lpage_sec_page_tables_kb();

	for (round = 0; round < rounds; round++) {
		WRITE_ONCE(*toggles, 0);
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid)
			exit_race_child(size, threads, nr_pages, toggles);

		/* Odd: about to be turned off.  Even: about to be turned on. */
		while (READ_ONCE(*toggles) < 5 + round) {
			if (waitpid(pid, &status, WNOHANG) == pid) {
				if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
					exit(KSFT_SKIP);
				TEST_FAIL("The VM's process ended by itself");
			}
			give_way();
		}
		kill(pid, SIGKILL);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
			    "The VM's process was not killed");
	}
	lpage_wait_sec_page_tables(before_kb);
}

/* SMM */

#define SMRAM_GPA	0x1000000
#define SMRAM_SIZE	SZ_64K

/* Runs in real mode with flat segments. */
static const u8 smm_handler[] = {
	0x66, 0xbb, 0x00, 0x00, 0x00, 0x40,		/*    mov $TEST_GPA, %ebx */
	0x66, 0xb9, 0x00, 0x04, 0x00, 0x00,		/*    mov $SMM_PAGES, %ecx */
	0x67, 0x66, 0xff, 0x03,				/* 1: incl (%ebx) */
	0x66, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00,	/*    add $0x1000, %ebx */
	0x66, 0x49,					/*    dec %ecx */
	0x75, 0xf1,					/*    jnz 1b */
	0x0f, 0xaa,					/*    rsm */
};

void smm_setup(struct test_vm *t)
{
	struct slot smram;
	char *code;

	code = alloc_4k(SMRAM_SIZE);
	memcpy(code + 0x8000, smm_handler, sizeof(smm_handler));
	slot_add(t, &smram, SMM_AS | (TEST_SLOT + 1), SMRAM_GPA, SMRAM_SIZE, code);
	vcpu_set_msr(t->vcpu[0], MSR_IA32_SMBASE, SMRAM_GPA);
}

void run_smm_handler(struct slot *s)
{
	struct kvm_vcpu *vcpu = s->t->vcpu[0];
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.smi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	vcpu_events_set(vcpu, &events);
	/* Whatever the guest does next, it takes the SMI first. */
	guest_verify(s, 0, 1, 1);
}

void expect_smm_count(struct slot *smm, u64 count)
{
	u64 i;

	for (i = 0; i < SMM_PAGES; i++)
		TEST_ASSERT(*host_word(smm, i) == count, "Page %lu of SMM has %lu, want %lu",
			    i, *host_word(smm, i), count);
}

/* A nested guest */

void l1_build_npt(struct slot *s)
{
	u64 i;

	*host_word(s, 0) = (s->gpa + SZ_4K) | NPT_TABLE;
	for (i = 0; i < 4; i++)
		host_word(s, 1)[i] = (s->gpa + (NPT_PD + i) * SZ_4K) | NPT_TABLE;
	for (i = 0; i < 4 * 512; i++)
		host_word(s, NPT_PD)[i] = i * SZ_2M | NPT_LARGE;
}

void nested_do(struct slot *s, enum guest_op_type l2_type, u64 l2_first,
	       u64 l2_nr, u64 l2_gen, enum guest_op_type l1_type,
	       u64 l1_first, u64 l1_nr, u64 l1_gen)
{
	op_set(s->t, 0, l2_type, s->gpa + l2_first * SZ_4K, l2_nr, SZ_4K, l2_gen);
	op_set(s->t, 1, l1_type, s->gpa + l1_first * SZ_4K, l1_nr, SZ_4K, l1_gen);
	vcpu_run_op(s->t, 0);
}

/* Subtests */

/* Why a child skips, read by the parent. */
static char *skip_reason;
#define SKIP_REASON_SIZE	256

void skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, SKIP_REASON_SIZE, fmt, args);
	va_end(args);
	exit(KSFT_SKIP);
}

/* Whether the child ends within the time that a subtest has. */
static bool wait_subtest(pid_t pid)
{
	struct pollfd end = { .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int nr;

	TEST_ASSERT(end.fd >= 0, "pidfd_open() failed");
	nr = poll(&end, 1, SUBTEST_SECONDS * 1000);
	close(end.fd);
	return nr == 1;
}

/*
 * A child that exits for want of something has said what in skip_reason.  The
 * library exits with the same status when an assertion fails on EACCES.
 */
static void run_subtest(const struct subtest *subtest)
{
	int status;
	pid_t pid;

	skip_reason[0] = '\0';
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		subtest->run();
		exit(KSFT_PASS);
	}
	if (!wait_subtest(pid)) {
		ksft_print_msg("%s: not done after %d s\n", subtest->name, SUBTEST_SECONDS);
		lpage_tasks_print(pid);
		kill(pid, SIGKILL);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");

	if (WIFSIGNALED(status))
		ksft_print_msg("%s: %s\n", subtest->name, strsignal(WTERMSIG(status)));

	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP && skip_reason[0])
		ksft_test_result_code(KSFT_SKIP, subtest->name, "%s", skip_reason);
	else
		ksft_test_result(WIFEXITED(status) && !WEXITSTATUS(status), "%s\n", subtest->name);
}

static void params_find(struct param *param)
{
	for (; param->path; param++)
		if (!access(param->path, F_OK))
			file_read(param->path, param->found, sizeof(param->found));
}

static void params_set(const struct param *param, bool found)
{
	for (; param->path; param++)
		if (param->found[0])
			file_write(param->path,
				   found || !param->value ? param->found : param->value);
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-l] [-t SUBTEST]\n"
	       "  -l          list the subtests\n"
	       "  -t SUBTEST  run only this one\n", name);
}

int run_subtests(int argc, char **argv, const struct subtest *subtests, int nr,
		 struct param *params, void (*check)(void))
{
	const struct subtest *only = NULL;
	int i, opt;

	while ((opt = getopt(argc, argv, "hlt:")) != -1) {
		switch (opt) {
		case 'l':
			for (i = 0; i < nr; i++)
				puts(subtests[i].name);
			return 0;
		case 't':
			for (i = 0; i < nr; i++)
				if (!strcmp(optarg, subtests[i].name))
					only = &subtests[i];
			if (only)
				break;
			fprintf(stderr, "no subtest %s; see -l\n", optarg);
			return 1;
		default:
			help(argv[0]);
			return opt == 'h' ? 0 : 1;
		}
	}

	ksft_print_header();
	check();

	skip_reason = mmap(NULL, SKIP_REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(skip_reason != MAP_FAILED, "mmap() failed");
	params_find(params);

	ksft_set_plan(only ? 1 : nr);
	for (i = 0; i < nr; i++) {
		if (only && only != &subtests[i])
			continue;
		params_set(params, false);
		run_subtest(&subtests[i]);
	}
	params_set(params, true);
	ksft_finished();
}
