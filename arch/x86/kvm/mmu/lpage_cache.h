/* SPDX-License-Identifier: GPL-2.0 */
/* What vCPUs have in store for page faults. */
#ifndef __KVM_X86_MMU_LPAGE_CACHE_H
#define __KVM_X86_MMU_LPAGE_CACHE_H

#include <linux/kvm_host.h>

/*
 * Let the statistics follow what is in the caches of a vCPU, for its own thread or when
 * nobody else uses it; or in those for eager splitting of what nested guests map, for
 * who holds slots_lock, or when the VM has no other users.
 */
void kvm_lpage_count_caches(struct kvm_vcpu *vcpu);
void kvm_lpage_count_split_caches(struct kvm *kvm);

#endif /* __KVM_X86_MMU_LPAGE_CACHE_H */
