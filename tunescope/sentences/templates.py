"""Every sentence once, in English, by its kind. The page has each in Chinese: frontend/src/i18n/zh-CN/sentences.json."""

WAITING = {
    "no_worker": "No worker is connected.",
    "gpus_cannot_be_used": "The GPUs cannot be used. {faults}.",
    "machine_fault": "{machine}: {because}",
    "gpu_fault": "{machine}, GPU {index}: {because}",
    "mig_without_instance": "{machine}, GPU {index}: its MIG mode is on, but it has no instance",
    "too_few_gpus": "It asks for {gpus} GPUs; no connected machine has so many that work.",
    "no_gpu_for_several": "It asks for {gpus} GPUs; no connected machine has one.",
    "no_gpu_large_enough": "It needs about {need_bytes} on a GPU; the largest connected one has {largest_bytes}. "
    "See the advice on its estimate.",
    "held_by_others": "It needs about {need_bytes} on a GPU; other programs leave {free_bytes} free on GPU {index} of {machine}.",
    "held_by_jobs": "It needs about {need_bytes} on a GPU; other jobs and programs leave {free_bytes} free on GPU {index} of {machine}.",
    "fitting_gpus_in_use": "All GPUs that fit it are in use.",
    "gpus_in_use": "All GPUs are in use.",
    "cpu_in_use": "Another job is training; a machine without a GPU trains one job at a time.",
}
"""Why a job waits in the queue."""

GPUS = {
    "driver_restarted": "the NVIDIA driver was unloaded or loaded anew",
    "not_told_of_device": "the NVIDIA driver does not tell it of this device",
    "not_told_by_gpu": "this GPU does not tell it",
    "no_permission": "no permission to ask the NVIDIA driver for this",
    "not_found": "the NVIDIA driver does not find it",
    "no_power_cable": "a power cable of the GPU is not connected",
    "driver_not_loaded": "the NVIDIA driver is installed but not loaded",
    "driver_timeout": "the NVIDIA driver did not answer in time",
    "interrupt_problem": "the NVIDIA driver has a problem with the GPU's interrupts",
    "no_driver": "no NVIDIA driver is installed on this machine (libnvidia-ml.so.1 was not found)",
    "not_told_by_driver": "this version of the NVIDIA driver does not tell it",
    "inforom_damaged": "the GPU's configuration memory is damaged",
    "gpu_off_the_bus": "the GPU has fallen off the bus; the machine must be restarted",
    "gpu_reset_needed": "the GPU must be reset before it can be used again",
    "kept_by_system": "the operating system keeps the GPU from being used (its cgroup may not allow it)",
    "driver_updated": "the NVIDIA driver was updated under the running worker; "
    "restart the worker, and the machine if that does not help",
    "gpu_in_other_use": "the GPU is being used for something that excludes this",
    "gpu_not_ready": "the GPU is not ready yet",
    "no_gpu_found": "the NVIDIA driver finds no GPU",
    "driver_failed": "the NVIDIA driver failed for a reason that it does not tell (NVML error 999)",
    "nvml_error": "NVML error {code}",
    "nvml_raised": "{error}: {said}",
    "gpu_not_listed": "the NVIDIA driver no longer lists this GPU",
    "only_whole_gpu": "only the whole GPU tells it, not a part of it",
    "reserve_not_told": "this version of the NVIDIA driver counts it as used memory, without telling it apart",
    "other_process_numbers": "the worker runs in a container with process numbers of its own, which the driver's cannot be "
    "matched with; run the container with the host's PID namespace (docker: --pid=host)",
}
"""Why a GPU, or a figure of one, cannot be had."""

XIDS = {
    "xid_13": "graphics engine exception, mostly a program's invalid memory access",
    "xid_31": "memory page fault, mostly a program's invalid memory access",
    "xid_43": "a program's channel was reset after its own fault",
    "xid_45": "a program was ended and its channels were removed",
    "xid_48": "double bit memory error (ECC)",
    "xid_61": "microcontroller breakpoint or warning",
    "xid_62": "microcontroller halt",
    "xid_63": "a memory row or page was retired",
    "xid_64": "a memory row or page could not be retired",
    "xid_74": "NVLink error",
    "xid_79": "the GPU has fallen off the bus",
    "xid_92": "many single bit memory errors (ECC)",
    "xid_94": "contained memory error: the program that met it was ended",
    "xid_95": "uncontained memory error: the GPU must be reset",
    "xid_109": "context switch timed out",
    "xid_119": "the GPU's system processor (GSP) does not answer",
    "xid_120": "error of the GPU's system processor (GSP)",
    "xid_other": "see NVIDIA's list of Xid errors",
}
"""Faults of a GPU by number, after NVIDIA's "XID Errors" document."""

FIGURES = {
    "process_memory_hidden": "the driver does not tell the memory of this process",
    "process_not_listed": "the driver lists no process of this job on this GPU",
    "process_ended": "process {pid} has ended",
    "process_not_ours": "no permission to look at process {pid}",
    "file_unreadable": "{file} cannot be read: {said}",
    "no_peak_from_kernel": "this kernel does not tell a process's peak memory",
    "no_such_figure": "there is no such figure here",
    "nvml_silent": "NVML does not tell it",
    "less_than_reserved": "NVML attributes less to this process than torch has reserved",
    "phase_too_short": "the phase was shorter than the time between two samples",
    "cpu_no_fragmentation": "on the CPU memory comes from the C library, which does not tell what it holds in reserve",
    "cpu_no_context": "there is no CUDA context on the CPU: Python, libraries and data share the process's memory with the tensors",
    "cpu_shared_memory": "on the CPU tensors lie in main memory, which all processes share; see the machine's page",
    "not_measured": "it was not measured",
    "no_estimate": "there is no estimate of this job",
    "other_dtype": "this run computed in {computed}, the estimate is for {predicted}",
    "first_step_without_states": "the first step begins before the optimizer has states",
    "other_moment": "at the predicted peak ({predicted}) and at the measured one ({measured}) other gradients exist",
    "cpu_keeps_other_tensors": "the estimate is for a GPU's kernels; those of the CPU keep other tensors",
}
"""Why a measured figure is missing, or is not compared with the predicted one."""

TEMPLATES: dict[str, str] = WAITING | GPUS | XIDS | FIGURES
