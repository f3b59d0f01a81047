# The part of the agent that cannot be written in C++: its header, its entries, the thread start, and the boot code.
	.intel_syntax noprefix
	.section .head, "ax"
	.globl agent_head
agent_head:
	.long 0x41474e54
	.long agent_serve_entry - agent_head
	.long agent_thread_entry - agent_head
	.long agent_restore_entry - agent_head
	.long boot - agent_head
	.long boot_end - boot
	.long boot_leave - boot
	.long boot_return - boot
	.long call32 - agent_head
	.long 0

	.text
# Whoever is sent here is stopped before the next instruction.
call32:
	int 0x80
	ud2

# Dump, serving thread: rdi = Control*, rsp = its BootFrame. rbx, r12 and r13 are kept for the boot code: C++ code preserves
# them by the calling convention.
agent_serve_entry:
	mov rbp, rsp
	mov rsp, rdi
	and rsp, -16
	call agent_serve		# returns the address of boot_leave
	mov rsp, rbp
	jmp rax

# Dump, any other thread: rdi = ThreadSlot*. Its stack is the memory right below the slot; rsp still points to its
# BootFrame, and is needed again.
agent_thread_entry:
	mov rbp, rsp
	mov rsp, rdi
	and rsp, -16
	call agent_thread		# returns the address of boot_leave
	mov rsp, rbp
	jmp rax

# Restore: rdi = RestoreStart*, rsp = the agent's own stack. Never returns.
agent_restore_entry:
	and rsp, -16
	xor ebp, ebp
	call agent_restore
	ud2

# long agent_clone3(clone_args *args, size_t size, ThreadStart *start)
# The child finds itself on the stack that clone_args names, and calls agent_restore_thread(start).
	.globl agent_clone3
agent_clone3:
	mov r8, rdx
	mov eax, 435
	syscall
	test rax, rax
	jz 1f
	ret
1:	xor ebp, ebp
	and rsp, -16
	mov rdi, r8
	call agent_restore_thread
	ud2

# The boot code is copied into the unused tail of the vdso while a task is being worked on. It is the safety net: from the
# instant a thread's registers point here, letting it run on, whatever the tracer does or if it dies, brings the thread
# back to where it was. rsp = BootFrame*; r12, r13 = address and length of the agent's memory (0 when there is none);
# rbx = &Control::inside; r14, r15: see below. Who leaves last takes the agent along: nobody has to wait for anybody.
# No register or memory of the thread is touched but through the frame; the FPU is never touched.
boot:
	syscall				# one call chosen by the tracer; no other thread is inside
	test r14d, r14d			# a limit was raised for it: 1 + RLIMIT_..., and where the old one is kept
	jz 1f
	lea esi, [r14 - 1]
	xor edi, edi
	mov rdx, r15
	xor r10d, r10d
	mov eax, 302			# prlimit64
	syscall
	jmp 1f
boot_leave:
	lock dec dword ptr [rbx]	# last access to the agent's memory by this thread
	jnz boot_return
1:	mov rdi, r12
	mov rsi, r13
	mov eax, 11			# munmap
	syscall
boot_return:
	mov edi, 2			# SIG_SETMASK
	mov rsi, rsp
	xor edx, edx
	mov r10d, 8
	mov eax, 14			# rt_sigprocmask
	syscall
	add rsp, 8
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	pop r11
	pop r10
	pop r9
	pop r8
	pop rax
	pop rcx
	pop rdx
	pop rsi
	pop rdi
	# Not rt_sigreturn: that would forget the kernel's restart block, and an interrupted nanosleep would end with EINTR.
	iretq
boot_end:
	.section .note.GNU-stack, "", @progbits
