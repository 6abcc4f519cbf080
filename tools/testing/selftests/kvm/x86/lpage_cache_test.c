// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vCPUs keep in store for page faults: enough for whatever a fault takes, nothing
 * of what only shadow paging takes while there is none, and nothing left behind.
 *
 * A fault that finds nothing in store warns, and the test host takes that for a failure.
 * Runs with the TDP MMU, without it, and with nested paging turned off.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest.h"
#include "lpage_leak.h"
#include "lpage_vm.h"
#include "ucall_common.h"

#define BYTES_STAT	"mmu_cache_bytes"

/*
 * What a vCPU may keep where the TDP MMU is all that it uses: page tables, each with a
 * header and two pointers, which are less than this, and nothing else.
 */
#define TDP_BYTES	SZ_32K
#define HEADER_BYTES	256

#define MANY_VCPUS	16
#define ROUNDS		4

/* Each vCPU has its own part of the memory, one page of each 2M in use. */
#define REGIONS		(TEST_SPACE / SZ_2M)
#define PART		(REGIONS / MANY_VCPUS)

/* Guest side */

enum step {
	STEP_L1,	/* touch the memory */
	STEP_L2,	/* have a nested guest touch it */
	STEP_L2_ALL,	/* have it look at everybody's */
	STEP_LEAVE,	/* no nested guests any more */
};

struct work {
	u64 step;
	u64 gva;
	u64 nr_pages;
	u64 gen;
	u8 stack[SZ_4K] __aligned(16);
};

static struct work works[MANY_VCPUS];

static void guest_touch(struct work *work)
{
	u64 i, gva;

	for (i = 0; i < work->nr_pages; i++) {
		gva = work->gva + i * SZ_2M;
		GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)gva), pattern(gva, work->gen - 1));
		WRITE_ONCE(*(u64 *)gva, pattern(gva, work->gen));
	}
}

/* Others may be writing there. */
static void guest_look(void)
{
	u64 i;

	for (i = 0; i < REGIONS; i++)
		READ_ONCE(*(u64 *)(TEST_GPA + i * SZ_2M + SZ_1M));
}

static void guest_l2(struct work *work)
{
	for (;;) {
		if (READ_ONCE(work->step) == STEP_L2_ALL)
			guest_look();
		else
			guest_touch(work);
		vmmcall();
	}
}

/* The library's way in has the registers in one place for all vCPUs. */
static void l1_vmrun(struct svm_test_data *svm, struct work *work)
{
	u64 vmcb_gpa = svm->vmcb_gpa;

	asm volatile("vmload %%rax\n\t"
		     "vmrun %%rax\n\t"
		     "vmsave %%rax\n\t"
		     : "+a" (vmcb_gpa), "+D" (work)
		     : : "rbx", "rcx", "rdx", "rsi", "rbp", "r8", "r9", "r10", "r11", "r12",
			 "r13", "r14", "r15", "cc", "memory");
}

static void l1_enter(struct svm_test_data *svm, u64 npt, struct work *work)
{
	struct vmcb *vmcb = svm->vmcb;

	if (!(rdmsr(MSR_EFER) & EFER_SVME)) {
		generic_svm_setup(svm, guest_l2);
		/* As after a call. */
		vmcb->save.rsp = (u64)work->stack + sizeof(work->stack) - 8;
		if (npt) {
			vmcb->control.misc_ctl |= SVM_MISC_ENABLE_NP;
			vmcb->control.nested_cr3 = npt;
		}
	}
	l1_vmrun(svm, work);
	GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
	vmcb->save.rip += 3;
}

static void guest_main(u64 idx, struct svm_test_data *svm, u64 npt)
{
	struct work *work = &works[idx];

	for (;;) {
		switch (READ_ONCE(work->step)) {
		case STEP_L1:
			guest_touch(work);
			break;
		case STEP_L2:
		case STEP_L2_ALL:
			l1_enter(svm, npt, work);
			break;
		case STEP_LEAVE:
			wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
			break;
		}
		GUEST_SYNC(0);
	}
}

/* Host side */

struct many_vm {
	struct test_vm t;
	struct kvm_vcpu *vcpu[MANY_VCPUS];
	struct work *works;
	struct slot s;
};

static bool have_nested(void)
{
	return kvm_cpu_has(X86_FEATURE_SVM);
}

/* Without the TDP MMU nested page tables are not for L1 either, if the CPU has any. */
static bool have_tdp_mmu(void)
{
	return get_kvm_param_bool("tdp_mmu") && kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY);
}

/* Only what is in use is there. */
static char *alloc_sparse(void)
{
	static char *mem;
	u64 i, gpa;

	mem = mem ?: alloc_4k(TEST_SPACE);
	for (i = 0; i < REGIONS; i++) {
		gpa = TEST_GPA + i * SZ_2M + SZ_1M;
		*(u64 *)(mem + gpa - TEST_GPA) = pattern(gpa, 0);
	}
	return mem;
}

/* Where the part of a vCPU begins, and with it the nested page tables of its L1. */
static u64 part(int idx)
{
	return (u64)idx * PART * SZ_2M;
}

/*
 * Each L1 has nested page tables of its own for the same memory, so that reverse maps
 * have many entries.
 */
static void many_new(struct many_vm *m)
{
	const bool npt = kvm_cpu_has(X86_FEATURE_NPT);
	gva_t svm_gva = 0;
	struct slot own;
	int i;

	m->t.nr_vcpus = 0;
	m->t.mode = LOG_LEGACY;
	m->t.vm = __vm_create(VM_SHAPE_DEFAULT, MANY_VCPUS, 8 * MANY_VCPUS);
	virt_map_level(m->t.vm, TEST_GPA, TEST_GPA, TEST_SPACE, PG_LEVEL_2M);
	for (i = 0; i < MANY_VCPUS; i++) {
		m->vcpu[i] = vm_vcpu_add(m->t.vm, i, guest_main);
		if (have_nested())
			vcpu_alloc_svm(m->t.vm, &svm_gva);
		vcpu_args_set(m->vcpu[i], 3, (u64)i, svm_gva,
			      npt ? TEST_GPA + part(i) : 0ull);
	}
	m->works = addr_gva2hva(m->t.vm, (gva_t)works);
	memset(m->works, 0, sizeof(works));
	slot_add(&m->t, &m->s, TEST_SLOT, TEST_GPA, TEST_SPACE, alloc_sparse());
	for (i = 0; i < MANY_VCPUS; i++) {
		slot_init(&m->t, &own, TEST_SLOT, TEST_GPA + part(i), PART * SZ_2M,
			  m->s.hva + part(i));
		l1_build_npt(&own);
	}
}

static u64 vcpu_bytes(struct many_vm *m, int idx)
{
	return lpage_vcpu_stat(m->vcpu[idx], "vcpu_cache_bytes");
}

static u64 vm_bytes(struct many_vm *m)
{
	u64 bytes = lpage_vm_stat(m->t.vm, BYTES_STAT), sum = 0;
	int i;

	for (i = 0; i < MANY_VCPUS; i++)
		sum += vcpu_bytes(m, i);
	TEST_ASSERT(bytes == sum, "The VM has %lu bytes, its vCPUs have %lu", bytes, sum);
	return bytes;
}

/* All of the memory holds @gen afterwards, as it held the one before. */
static void many_run(struct many_vm *m, int idx, enum step step, u64 gen)
{
	struct work *work = &m->works[idx];

	work->step = step;
	work->gva = TEST_GPA + part(idx) + SZ_1M;
	work->nr_pages = PART;
	work->gen = gen;
	vcpu_run(m->vcpu[idx]);
	TEST_ASSERT(op_done(m->vcpu[idx]), "Unexpected exit: %s",
		    exit_reason_str(m->vcpu[idx]->run->exit_reason));
}

static void run_all(struct many_vm *m, enum step step, u64 gen)
{
	int i;

	for (i = 0; i < MANY_VCPUS; i++)
		many_run(m, i, step, gen);
}

static void expect_tdp_bytes(struct many_vm *m)
{
	u64 bytes;
	int i;

	for (i = 0; i < MANY_VCPUS; i++) {
		bytes = vcpu_bytes(m, i);
		TEST_ASSERT(bytes && bytes <= TDP_BYTES &&
			    bytes % SZ_4K < bytes / SZ_4K * HEADER_BYTES,
			    "vCPU %d keeps %lu bytes", i, bytes);
	}
	vm_bytes(m);
}

static void require_nested_npt(void)
{
	if (!have_nested() || !kvm_cpu_has(X86_FEATURE_NPT))
		skip("needs nested SVM with NPT");
}

/* The store is empty at first, and then what the limit allows, however many faults. */
static void test_tdp(void)
{
	struct many_vm m;

	many_new(&m);
	TEST_ASSERT(!vm_bytes(&m), "vCPUs that never ran keep %lu bytes", vm_bytes(&m));
	run_all(&m, STEP_L1, 1);
	expect_tdp_bytes(&m);
	kvm_vm_free(m.t.vm);
}

/* What only shadow paging takes comes with nested guests, and goes with them. */
static void test_nested(void)
{
	struct many_vm m;
	u64 tdp;
	int i;

	require_nested_npt();
	many_new(&m);
	run_all(&m, STEP_L1, 1);
	tdp = vm_bytes(&m);

	/* The neighbours of one that nests have no more than before, after new faults. */
	many_run(&m, 0, STEP_L2, 2);
	TEST_ASSERT(vcpu_bytes(&m, 0) > vcpu_bytes(&m, 1), "L2 has nothing in store");
	slot_delete(&m.s);
	slot_set(&m.s, 0);
	for (i = 1; i < MANY_VCPUS; i++)
		many_run(&m, i, STEP_L1, 2);
	TEST_ASSERT(vm_bytes(&m) - vcpu_bytes(&m, 0) <= tdp - tdp / MANY_VCPUS,
		    "vCPUs without nested guests keep more because of one that has");

	many_run(&m, 0, STEP_LEAVE, 3);
	expect_tdp_bytes(&m);

	/* And once more. */
	run_all(&m, STEP_L2, 3);
	run_all(&m, STEP_L2_ALL, 4);
	TEST_ASSERT(vm_bytes(&m) > tdp, "L2 has nothing in store");
	run_all(&m, STEP_LEAVE, 4);
	expect_tdp_bytes(&m);
	run_all(&m, STEP_L1, 4);
	expect_tdp_bytes(&m);
	kvm_vm_free(m.t.vm);
}

/* Many vCPUs at once */

struct runner {
	pthread_t thread;
	struct many_vm *m;
	pthread_barrier_t *start;
	int idx;
};

/* Every other vCPU goes on as it was for a while after the first nested root. */
static void *runner_main(void *arg)
{
	struct runner *r = arg;

	many_run(r->m, r->idx, STEP_L1, 1);
	pthread_barrier_wait(r->start);
	many_run(r->m, r->idx, r->idx % 2 && have_nested() ? STEP_L2 : STEP_L1, 2);
	many_run(r->m, r->idx, have_nested() ? STEP_L2 : STEP_L1, 3);
	if (have_nested())
		many_run(r->m, r->idx, STEP_L2_ALL, 4);
	many_run(r->m, r->idx, STEP_L1, 4);
	return NULL;
}

static void late_start(void)
{
	struct runner runners[MANY_VCPUS];
	pthread_barrier_t start;
	struct many_vm m;
	int i;

	many_new(&m);
	pthread_barrier_init(&start, NULL, MANY_VCPUS);
	for (i = 0; i < MANY_VCPUS; i++) {
		runners[i] = (struct runner){ .m = &m, .start = &start, .idx = i };
		thread_start(&runners[i].thread, runner_main, &runners[i]);
	}
	for (i = 0; i < MANY_VCPUS; i++)
		pthread_join(runners[i].thread, NULL);
	pthread_barrier_destroy(&start);
	TEST_ASSERT(vm_bytes(&m), "Nothing is in store");
	kvm_vm_free(m.t.vm);
}

/* The first nested roots of a VM, by many vCPUs that fault all the while. */
static void test_late_start(void)
{
	int i;

	for (i = 0; i < ROUNDS; i++)
		late_start();
}

/* Without the TDP MMU all vCPUs have what shadow paging takes. */
static void test_shadow(void)
{
	struct many_vm m;

	many_new(&m);
	run_all(&m, STEP_L1, 1);
	run_all(&m, STEP_L1, 2);
	TEST_ASSERT(vm_bytes(&m), "Nothing is in store");
	if (have_nested()) {
		run_all(&m, STEP_L2, 3);
		run_all(&m, STEP_L2_ALL, 4);
		run_all(&m, STEP_LEAVE, 4);
		run_all(&m, STEP_L1, 4);
	}
	kvm_vm_free(m.t.vm);
}

/* Pages so far from each other that a fault takes more than one page table. */
#define FAR_PAGES	64

static void guest_far(u64 gva, u64 nr_pages)
{
	u64 i;

	for (i = 0; i < nr_pages; i++)
		WRITE_ONCE(*(u64 *)(gva + i * SZ_1G), pattern(i, 1));
	GUEST_SYNC(0);
}

static void test_far_pages(void)
{
	const u64 gpa = 16ull * SZ_1G;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char *mem;
	u64 i;

	vm = __vm_create_with_one_vcpu(&vcpu, 4 * FAR_PAGES, guest_far);
	mem = alloc_4k(SZ_4K * FAR_PAGES);
	for (i = 0; i < FAR_PAGES; i++) {
		vm_set_user_memory_region(vm, TEST_SLOT + i, 0, gpa + i * SZ_1G, SZ_4K,
					  mem + i * SZ_4K);
		virt_map_level(vm, gpa + i * SZ_1G, gpa + i * SZ_1G, SZ_2M, PG_LEVEL_2M);
	}
	vcpu_args_set(vcpu, 2, gpa, (u64)FAR_PAGES);
	vcpu_run(vcpu);
	TEST_ASSERT(op_done(vcpu), "Unexpected exit: %s",
		    exit_reason_str(vcpu->run->exit_reason));
	for (i = 0; i < FAR_PAGES; i++)
		TEST_ASSERT(*(u64 *)(mem + i * SZ_4K) == pattern(i, 1),
			    "Page %lu is not what the guest wrote", i);
	kvm_vm_free(vm);
}

/* Eager splitting of what nested guests map */

static void split_nested(enum log_mode mode)
{
	const u64 first = PAGES_PER_2M, nr = 3 * PAGES_PER_2M;
	struct stats populated, logged;
	unsigned long *log;
	struct test_vm t;
	struct slot s;
	u64 bytes;

	vm_new_nested(&t, TEST_GPA);
	if (mode == LOG_INITIALLY_SET)
		vm_enable_cap(t.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
			      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	l1_build_npt(&s);
	nested_do(&s, OP_WRITE, first, nr, 1, OP_POKE, 0, 0, 0);
	populated = stats_read(&t);
	bytes = lpage_vm_stat(t.vm, BYTES_STAT);

	slot_log(&s, true);
	if (mode == LOG_INITIALLY_SET) {
		kvm_vm_get_dirty_log(t.vm, s.id, log);
		kvm_vm_clear_dirty_log(t.vm, s.id, log, 0, SZ_8M / SZ_4K);
	}
	logged = stats_read(&t);
	TEST_ASSERT(populated.val[PAGES_2M] - logged.val[PAGES_2M] >= 3,
		    "What L2 maps was not split");
	TEST_ASSERT(lpage_vm_stat(t.vm, BYTES_STAT) == bytes,
		    "Splitting leaves %lu bytes in store, %lu before",
		    lpage_vm_stat(t.vm, BYTES_STAT), bytes);

	nested_do(&s, OP_WRITE, first, nr, 2, OP_POKE, 0, 0, 0);
	host_verify(&s, first, nr, 2);
	free(log);
	kvm_vm_free(t.vm);
}

static void test_split_nested(void)
{
	split_nested(LOG_LEGACY);
	split_nested(LOG_INITIALLY_SET);
}

/* Also where nested page tables of L1 were shared by vCPUs that left them. */
static void test_teardown(void)
{
	struct lpage_leaks *leaks = lpage_leaks_begin();

	late_start();
	if (have_tdp_mmu() && have_nested())
		split_nested(LOG_LEGACY);
	TEST_ASSERT(lpage_leaks_gone(leaks), "Memory was leaked");
	free(leaks);
}

/* Running subtests */

static const struct subtest tdp_subtests[] = {
	SUBTEST(tdp),
	SUBTEST(nested),
	SUBTEST(late_start),
	SUBTEST(far_pages),
	SUBTEST(split_nested),
	SUBTEST(teardown),
};

static const struct subtest shadow_subtests[] = {
	SUBTEST(shadow),
	SUBTEST(late_start),
	SUBTEST(far_pages),
	SUBTEST(teardown),
};

static struct param params[] = {
	{ SPLIT_PARAM, "Y" },
	{ THREADS_PARAM, "1" },
	{ EAGER_PARAM, "Y" },
	{ },
};

static void check(void)
{
	if (!have_lpage_split())
		ksft_exit_skip("kvm.ko has no store to look at\n");
}

int main(int argc, char **argv)
{
	if (have_tdp_mmu())
		return run_subtests(argc, argv, tdp_subtests, ARRAY_SIZE(tdp_subtests), params,
				    check);
	return run_subtests(argc, argv, shadow_subtests, ARRAY_SIZE(shadow_subtests), params,
			    check);
}
