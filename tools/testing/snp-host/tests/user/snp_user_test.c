// SPDX-License-Identifier: GPL-2.0
/*
 * RMP checks on writes of user mode (APM 2, 15.36.10), and of a plain guest of KVM's.
 *
 * The kernel does not expect such a fault of user mode, and lets the program try
 * again for ever: do_user_addr_fault() finds nothing wrong.  So there is no signal;
 * the test module tells of the faults, and one thread writes while another waits.
 * (A system call that writes to such memory of the caller's does so for ever, too.)
 */
#include <fcntl.h>
#include <linux/compiler.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "snp_user.h"

#define PAGE_SIZE	4096ul
#define HUGE_SIZE	(512 * PAGE_SIZE)

/* Present, write, user, RMP */
#define USER_WRITE_FAULT	0x80000007ull

/* Of pages of 4K, if not of hugetlb's. */
static char *map_memory(size_t size, int flags)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
			 -1, 0);

	CHECK(mem != MAP_FAILED);
	if (!(flags & MAP_HUGETLB))
		CHECK(!madvise(mem, size, MADV_NOHUGEPAGE));
	memset(mem, 0, size);
	return mem;
}

struct writer {
	pthread_t thread;
	char *addr;
	int done;
};

static void *writer_thread(void *arg)
{
	struct writer *w = arg;

	WRITE_ONCE(*w->addr, 1);
	WRITE_ONCE(w->done, 1);
	return NULL;
}

static void writer_start(struct writer *w, char *addr)
{
	w->addr = addr;
	w->done = 0;
	test_watch(addr);
	CHECK(!pthread_create(&w->thread, NULL, writer_thread, w));
}

static void writer_join(struct writer *w)
{
	CHECK(!pthread_join(w->thread, NULL));
	CHECK(READ_ONCE(w->done));
}

/* Two faults tell that the write is tried again. */
static void expect_faults(struct writer *w)
{
	while (test_faults().count < 2) {
		CHECK(!READ_ONCE(w->done));
		sched_yield();
	}
	CHECK_EQ(test_faults().error_code, USER_WRITE_FAULT);
	CHECK(!READ_ONCE(w->done));
}

static void write_faults_until_shared(char *assigned, char *addr, int raw)
{
	struct writer w;

	test_assign(assigned, raw);
	CHECK_EQ(READ_ONCE(*addr), 0);
	writer_start(&w, addr);
	expect_faults(&w);
	test_share(assigned);
	writer_join(&w);
	CHECK_EQ(*addr, 1);
}

/* APM 3: the instructions are for CPL 0, and others get #GP. */

static void rmpupdate(void *operand)
{
	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xfe" : : "a" (0), "c" (operand) : "memory");
}

static void psmash(void *operand)
{
	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xff" : : "a" (0), "c" (operand) : "memory");
}

static void rmpread(void *operand)
{
	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xfd" : : "a" (0), "c" (operand) : "memory");
}

static void expect_gp(void (*instruction)(void *operand))
{
	static char operand[16];
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		instruction(operand);
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	/* An instruction that there is not would be SIGILL. */
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSEGV);
}

static void instructions_of_cpl_0(void)
{
	expect_gp(rmpupdate);
	expect_gp(psmash);
	expect_gp(rmpread);
}

static void user_write_faults(void)
{
	char *mem = map_memory(PAGE_SIZE, 0);

	write_faults_until_shared(mem, mem, 0);
}

/* The control: the page beside, mapped by 4K as well. */
static void user_neighbour_does_not_fault(void)
{
	char *mem = map_memory(4 * PAGE_SIZE, 0);
	struct writer w;

	test_assign(mem, 0);
	writer_start(&w, mem + PAGE_SIZE);
	writer_join(&w);
	CHECK_EQ(test_faults().count, 0);
	test_share(mem);
}

/* But one that a 2M page of the program's maps, too. */
static void user_neighbour_in_2m_faults(void)
{
	char *mem = map_memory(HUGE_SIZE, MAP_HUGETLB);

	write_faults_until_shared(mem + 5 * PAGE_SIZE, mem + 9 * PAGE_SIZE, 0);
}

/*
 * A plain guest.  KVM does not expect the fault, either: the page is there, and
 * writable, and the guest tries again.
 */

#define GUEST_MEM	HUGE_SIZE
#define GUEST_CODE	0x1000

/* 16 bits: movb $1, (0x3000); hlt */
static const unsigned char guest_code[] = { 0xc6, 0x06, 0x00, 0x30, 0x01, 0xf4 };
#define GUEST_TARGET	0x3000

struct vm {
	int fd, vcpu;
	struct kvm_run *run;
	char *mem;
	pthread_t thread;
	int done;
};

static void vm_init(struct vm *vm, int map_flags)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_MEM };
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2 };
	int kvm = open("/dev/kvm", O_RDWR);
	struct kvm_sregs sregs;

	CHECK(kvm >= 0);
	vm->mem = map_memory(GUEST_MEM, map_flags);
	memcpy(vm->mem + GUEST_CODE, guest_code, sizeof(guest_code));
	vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(vm->fd >= 0);
	region.userspace_addr = (uintptr_t)vm->mem;
	CHECK(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	CHECK(vm->vcpu >= 0);
	vm->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		       MAP_SHARED, vm->vcpu, 0);
	CHECK(vm->run != MAP_FAILED);
	CHECK(!ioctl(vm->vcpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	CHECK(!ioctl(vm->vcpu, KVM_SET_SREGS, &sregs));
	CHECK(!ioctl(vm->vcpu, KVM_SET_REGS, &regs));
	vm->done = 0;
}

static void *vcpu_thread(void *arg)
{
	struct vm *vm = arg;

	CHECK(!ioctl(vm->vcpu, KVM_RUN, 0));
	CHECK_EQ(vm->run->exit_reason, KVM_EXIT_HLT);
	WRITE_ONCE(vm->done, 1);
	return NULL;
}

static void guest_write(int map_flags, int assigned_page, int expect_fault)
{
	uint64_t faults = test_counter(SNP_COUNTER_NESTED_FAULT);
	struct vm vm;

	vm_init(&vm, map_flags);
	test_assign(vm.mem + assigned_page * PAGE_SIZE, 0);
	CHECK(!pthread_create(&vm.thread, NULL, vcpu_thread, &vm));
	while (expect_fault && test_counter(SNP_COUNTER_NESTED_FAULT) - faults < 2) {
		CHECK(!READ_ONCE(vm.done));
		sched_yield();
	}
	if (expect_fault) {
		CHECK(!READ_ONCE(vm.done));
		test_share(vm.mem + assigned_page * PAGE_SIZE);
	}
	CHECK(!pthread_join(vm.thread, NULL));
	CHECK_EQ(vm.mem[GUEST_TARGET], 1);
	if (!expect_fault)
		CHECK_EQ(test_counter(SNP_COUNTER_NESTED_FAULT) - faults, 0);
}

static void guest_write_faults(void)
{
	guest_write(0, GUEST_TARGET / PAGE_SIZE, 1);
}

static void guest_neighbour_does_not_fault(void)
{
	guest_write(0, GUEST_TARGET / PAGE_SIZE + 1, 0);
}

static void guest_neighbour_in_2m_faults(void)
{
	guest_write(MAP_HUGETLB, GUEST_TARGET / PAGE_SIZE + 1, 1);
}

static const struct user_test tests[] = {
	USER_TEST(instructions_of_cpl_0),
	USER_TEST(user_write_faults),
	USER_TEST(user_neighbour_does_not_fault),
	USER_TEST(user_neighbour_in_2m_faults),
	USER_TEST(guest_write_faults),
	USER_TEST(guest_neighbour_does_not_fault),
	USER_TEST(guest_neighbour_in_2m_faults),
};

int main(void)
{
	return run_user_tests(tests, ARRAY_SIZE(tests));
}
