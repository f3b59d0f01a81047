/*
 * Numbers of kernel interfaces that are newer than the headers of Debian 12.
 */
#pragma once

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#define SYS_NR_mseal 462
#define SYS_NR_pidfd_open 434
#define SYS_NR_clone3 435
#define SYS_NR_memfd_secret 447
#define PR_TIMER_CREATE_RESTORE_IDS_ 77
